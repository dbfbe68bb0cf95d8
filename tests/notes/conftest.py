"""The fixtures of tests/broker."""

from __future__ import annotations

from tests.broker.conftest import new_table, table

__all__ = ["new_table", "table"]
