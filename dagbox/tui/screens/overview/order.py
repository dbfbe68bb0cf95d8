"""The order of rows that change while one looks at them. Knows no Textual."""

from __future__ import annotations

from collections.abc import Sequence

from dagbox.tui.display.columns import Row

EVERY_S = 5.0
"""Rows are put in another order at most so often."""


class SteadyOrder:
    """Gives rows in the order that they come in, but keeps the order it gave last for a while.

    Rows that are new come at the end meanwhile. The row that the user has chosen stays at its place.
    """

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._at = 0.0

    def arrange(self, rows: Sequence[Row], now: float, chosen: str = "") -> list[Row]:
        """Return the rows in their order.

        Args:
            now: seconds; a time before that of the last order begins anew.
            chosen: the key of the row that the user has put the cursor on.
        """
        by_key = {row.key: row for row in rows}
        kept = [key for key in self._keys if key in by_key]
        if kept and 0 <= now - self._at < EVERY_S:
            before = set(kept)
            self._keys = kept + [key for key in by_key if key not in before]
        else:
            self._at = now
            wanted = list(by_key)
            if chosen in kept:
                wanted.remove(chosen)
                wanted.insert(kept.index(chosen), chosen)
            self._keys = wanted
        return [by_key[key] for key in self._keys]
