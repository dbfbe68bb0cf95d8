"""Values that the clients' methods return beside refs, records and nodes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from dagbox.client.fields import LockWaiter
from dagbox.errors import DagBoxError, InvalidArgument

T = TypeVar("T")

_OPEN, _ANSWERED, _DONE, _FAILED = range(4)
"""The states of a future: without answer; with one that nobody has looked at; with a value; with an error."""


class LockInfo(NamedTuple):
    """One holder of a lock.

    Attributes:
        key: the key that is locked.
        owner: who holds it.
        token: its fencing token; 0 if nobody holds the key, and some wait for it.
        shared: whether others may hold it too, shared.
        left_s: how long the lease still runs, in seconds.
        waiting: who waits for the key, in order: `owner`, `waited_ms`, `shared` of each.
    """

    key: str
    owner: str
    token: int
    shared: bool
    left_s: float
    waiting: list[LockWaiter]


class Fact(NamedTuple):
    """A stored fact: predicate and arguments."""

    predicate: str
    args: tuple[Any, ...]


class Rule(NamedTuple):
    """A stored rule or declaration: its id and its text."""

    id: str
    text: str


class Rows(list[dict[str, Any]]):
    """The rows of a query: one map of variable -> value for each.

    Attributes:
        more: whether there are more than the `limit` let through.
    """

    def __init__(self, more: bool = False, rows: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(rows)
        self.more = more


class Future(Generic[T]):
    """The result of one request of a pipeline or batch; there is none before the block ends."""

    __slots__ = ("_answer", "_decode", "_state", "_value")

    def __init__(self, decode: Callable[[Any], T]) -> None:
        self._decode = decode
        self._state = _OPEN

    @property
    def done(self) -> bool:
        """Return True if there is a result or an error."""
        return self._state != _OPEN

    def result(self) -> T:
        """The result.

        Raises:
            DagBoxError: what the request failed with.
            InvalidArgument: the block has not ended, or was left with an exception.
        """
        error = self.exception()
        if error is not None:
            raise error
        value: T = self._value
        return value

    def exception(self) -> DagBoxError | None:
        """Return the error that the request failed with, or None; raises InvalidArgument before the block has ended."""
        if self._state == _ANSWERED:
            self._take()
        elif self._state == _OPEN:
            raise InvalidArgument("no result yet: results are there when the block has ended without an exception")
        return self._value if self._state == _FAILED else None

    def resolve(self, answer: Any) -> None:
        """Take the answer in: an error, or a value that is decoded once somebody asks for it."""
        self._answer = answer
        self._state = _ANSWERED

    def _take(self) -> None:
        """Decode the answer; several threads may do that at once."""
        value, state = self._answer, _FAILED
        if not isinstance(value, DagBoxError):
            try:
                value, state = self._decode(value), _DONE
            except DagBoxError as error:
                value = error
        self._value = value
        self._state = state


class AsyncFuture(Future[T]):
    """A `Future` of the async client: to await it is to take its result, once the block has ended."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, T]:
        yield from ()
        return self.result()
