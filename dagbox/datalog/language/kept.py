"""Keep what was made for goals that may be asked again, up to a number and a size: others choose how large they are."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Kept(dict[K, V]):
    """Values that can be made again: when there is no room for one more, all are forgotten.

    Args:
        most: how many are kept.
        room: the size of all together; what is larger than that by itself is not kept.
    """

    def __init__(self, most: int, room: int) -> None:
        super().__init__()
        self._most = most
        self._room = self._left = room

    def keep(self, key: K, value: V, size: int) -> None:
        """Keep a value."""
        if size > self._room:
            return
        if len(self) >= self._most or size > self._left:
            self.clear()
        self[key] = value
        self._left -= size

    def clear(self) -> None:
        """Forget all."""
        super().clear()
        self._left = self._room
