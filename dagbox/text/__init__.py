"""Text for people, in one form for all faces: durations, amounts, text that is safe on a terminal, tables."""
