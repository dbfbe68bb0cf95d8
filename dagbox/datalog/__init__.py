"""Datalog: the language, the checks of a program, and the engine. Pure: facts come through `FactSource`."""

from __future__ import annotations

from dagbox.datalog.engine.answers import Answers
from dagbox.datalog.engine.budget import Budget, QueryProgress
from dagbox.datalog.engine.facts import FactSource, MemoryFacts
from dagbox.datalog.engine.query import Engine
from dagbox.datalog.language.program import Program

__all__ = ["Answers", "Budget", "Engine", "FactSource", "MemoryFacts", "Program", "QueryProgress"]
