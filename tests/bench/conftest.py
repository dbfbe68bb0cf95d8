"""The fixtures of tests/bench."""

from __future__ import annotations

from tests.commands.conftest import clean_environment, node, run, spawn

__all__ = ["clean_environment", "node", "run", "spawn"]
