"""Explanations: the proof of an answer, the reason for a missing one, and the plan of a query."""
