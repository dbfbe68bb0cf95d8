"""Datalog: the language, the checks of a program, and the engine. Pure: facts come through `FactSource`."""

from __future__ import annotations

from dagbox.datalog.answers import Answers
from dagbox.datalog.budget import Budget, Progress
from dagbox.datalog.engine import Engine
from dagbox.datalog.facts import FactSource, MemoryFacts
from dagbox.datalog.program import Program

__all__ = ["Answers", "Budget", "Engine", "FactSource", "MemoryFacts", "Program", "Progress"]
