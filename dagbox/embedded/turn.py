"""The turn of a call, for those who tell work from waiting."""

from __future__ import annotations


class Turn:
    """The turn of a call: `waited` is True once it had to wait for it."""

    __slots__ = ("waited",)

    def __init__(self) -> None:
        self.waited = False
