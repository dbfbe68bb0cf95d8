"""The fixtures of tests/commands."""

from __future__ import annotations

from tests.commands.conftest import clean_environment, node, run, spawn

__all__ = ["clean_environment", "node", "run", "spawn"]
