"""The budget of a query, and the meter that watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from dagbox.errors import QueryLimit

BYTES_PER_FACT = 100
"""The assumed memory of a derived fact, in bytes: see the figures of `dagbox.bench.datalog`."""
_CHECK_EVERY = 8192


class QueryProgress(NamedTuple):
    """Progress of a query: facts derived (with what rules carry between tables), rows looked at."""

    derived: int
    read: int


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one query; None: no limit.

    Args:
        rows: answers.
        facts: derived facts, with what rules carry between tables.
        bytes: memory of the derived facts, estimated at `BYTES_PER_FACT` each.
        read: rows looked at.
        check: called every few milliseconds with the progress; what it raises (a deadline, a cancel) stops the query.
    """

    rows: int | None = None
    facts: int | None = None
    bytes: int | None = None
    read: int | None = None
    check: Callable[[QueryProgress], None] | None = None


class Meter:
    """Counts what a query does, and stops it where its budget ends."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.derived = 0
        self.read = 0
        self._next = _CHECK_EVERY
        limits = [budget.facts, None if budget.bytes is None else budget.bytes // BYTES_PER_FACT]
        self._most = min((limit for limit in limits if limit is not None), default=None)

    def count(self, read: int, derived: int) -> None:
        """Add to the counts.

        Raises:
            QueryLimit: a budget is used up.
        """
        self.read += read
        self.derived += derived
        if self._most is not None and self.derived > self._most:
            self._refuse()
        self._next -= read + derived + 1
        if self._next < 0:
            self.check()

    def check(self) -> None:
        """Look at what is not looked at with every count. Raises QueryLimit, and what the check raises."""
        self._next = _CHECK_EVERY
        budget = self.budget
        if budget.read is not None and self.read > budget.read:
            raise QueryLimit("rows read", self.read, budget.read, self.derived, self.read)
        if budget.check is not None:
            budget.check(QueryProgress(self.derived, self.read))

    def rows(self, number: int) -> None:
        """Check a number of answers. Raises QueryLimit."""
        if self.budget.rows is not None and number > self.budget.rows:
            raise QueryLimit("rows of the answer", number, self.budget.rows, self.derived, self.read)

    def _refuse(self) -> None:
        budget = self.budget
        if budget.facts is not None and self.derived > budget.facts:
            raise QueryLimit("facts derived", self.derived, budget.facts, self.derived, self.read)
        used = self.derived * BYTES_PER_FACT
        raise QueryLimit("bytes of derived facts", used, budget.bytes or 0, self.derived, self.read)
