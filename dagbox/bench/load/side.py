"""The side that is measured, as load processes know it: how they connect, and make a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from importlib import import_module
from typing import Any, ClassVar, Protocol

from dagbox.bench.load.plan import Plan

Keys = Callable[[], str]
"""Chooses the key of a record."""
Request = Callable[[], Any]
"""Makes one request and returns once it is answered and the values in the answer are decoded."""
AwaitedRequest = Callable[[], Awaitable[Any]]

SIDES = {
    "dagbox": "dagbox.bench.load.dagbox:DagBoxSide",
}
"""Name -> the module and class, imported where it is used."""


class Side(Protocol):
    """Connections to one side; made anew in each load process from what `as_map` gave."""

    name: ClassVar[str]
    tasks: ClassVar[bool]
    """True if requests in flight are tasks of one event loop, False if each has a thread and a connection."""

    def as_map(self) -> dict[str, Any]:
        """Return what to make the side from, as a plain map; `from_map` of the class takes it."""

    def blocking(self, plan: Plan, keys: Keys) -> AbstractContextManager[Request]:
        """Connect; the block has a function that makes one request."""

    def awaited(self, plan: Plan, keys: Keys) -> AbstractAsyncContextManager[AwaitedRequest]:
        """As `blocking`, for `tasks`; many may be awaited at once."""


def side_of(data: Mapping[str, Any]) -> Side:
    """Return the side of a map with its name as `side`."""
    fields = dict(data)
    module, _, name = SIDES[fields.pop("side")].partition(":")
    side: Side = getattr(import_module(module), name)(**fields)
    return side
