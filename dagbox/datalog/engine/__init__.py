"""The engine: plans a goal, compiles its rules and computes the answers."""
