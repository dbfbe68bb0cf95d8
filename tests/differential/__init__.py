"""The same programs, facts and goals for DagBox and for clingo, an engine that shares no code with it."""
