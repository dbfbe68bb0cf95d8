"""Services made from functions: the `dagbox.service` decorator and the request object of its handlers.

The function runs on a thread pool with as many threads as the service has credit, so it may block and call the
database. `tick` returns the outcomes.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from time import monotonic
from typing import Any

from dagbox.errors import Cancelled, DagBoxError, InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.frames import MAX_SERVICE_BYTES
from dagbox.protocol.names import unique_request
from dagbox.protocol.notes import MAX_WHAT_CHARACTERS, Note
from dagbox.protocol.serving import serving
from dagbox.protocol.traits import Traits
from dagbox.protocol.values import pack, unpack
from dagbox.services.base import Failed, Forward, Outcome, Partial, Reply, Request, failure_of

log = logging.getLogger("dagbox.service")

MOST_NOTES_KEPT = 16_384
"""Begins and ends of spans that wait to be told; beyond them the oldest go."""


class ServiceRequest:
    """The request that a handler works on: its properties, and ways to answer other than returning a value."""

    def __init__(
        self, request: Request, send: Callable[[Outcome], None], note: Callable[[Note], None] = lambda note: None
    ) -> None:
        self._request = request
        self._send = send
        self._note = note
        self._cancelled = Event()

    @property
    def id(self) -> str:
        """Return a text that no other request has; repeats of it have the same. It begins with the id in traces."""
        return unique_request(self._request.key)

    @property
    def deadline(self) -> float | None:
        """Return the end of the wait for an answer, in seconds of `time.monotonic`; None: no deadline."""
        return self._request.deadline

    @property
    def hops(self) -> int:
        """Return the number of times the request was forwarded."""
        return self._request.hops

    @property
    def attempt(self) -> int:
        """Return the number of workers that died while working on the request."""
        return self._request.attempt

    @property
    def cancelled(self) -> bool:
        """Return True if the client cancelled the request; long handlers should check it regularly."""
        return self._cancelled.is_set()

    def forward(self, service: str, payload: Any) -> ForwardTo:
        """Forward the request: return this value from the handler, and the other service answers the client."""
        if not isinstance(service, str) or not service:
            raise InvalidArgument(f"a request is forwarded to a service by name, not to {service!r}")
        if len(service.encode(errors="replace")) > MAX_SERVICE_BYTES:
            raise LimitExceeded("bytes of a service's name", len(service.encode(errors="replace")), MAX_SERVICE_BYTES)
        return ForwardTo(service, payload)

    def partial(self, value: Any) -> None:
        """Send part of the answer early."""
        self._send(Partial(self._request, pack(value)))

    @contextmanager
    def span(self, name: str, text: str = "") -> Iterator[None]:
        """Have the trace of the request tell how long the block took, and from when on; also while it runs.

        Args:
            name: a word or two, 40 characters at most.
            text: what it works on, for people; beyond 200 characters it is cut.

        Raises:
            InvalidArgument: the name is empty or too long, or either is no text.
        """
        if type(name) is not str or not 0 < len(name) <= MAX_WHAT_CHARACTERS or type(text) is not str:
            raise InvalidArgument(
                f"a span has a name of 1 to {MAX_WHAT_CHARACTERS} characters, and a text, "
                f"not {shown_value(name)} and {shown_value(text)}"
            )
        begun = Note(self._request.key, monotonic(), None, name, text)
        self._note(begun)
        try:
            yield
        finally:
            self._note(begun._replace(ended=monotonic()))

    def _cancel(self) -> None:
        self._cancelled.set()


@dataclass(frozen=True, slots=True)
class ForwardTo:
    """A request to be forwarded to another service."""

    service: str
    payload: Any


Handler = Callable[[Any, ServiceRequest], Any]


@dataclass(frozen=True, slots=True)
class ServiceFunction:
    """A function and the service it provides. Calling it calls the function."""

    function: Handler
    name: str
    credit: int
    repeatable: bool

    def __call__(self, payload: Any, request: ServiceRequest) -> Any:
        return self.function(payload, request)


def service(name: str, *, credit: int = 1, repeatable: bool = False) -> Callable[[Handler], ServiceFunction]:
    """Turn a function `(payload, request) -> value` into a service.

    Args:
        name: the service's name; several workers may provide one service.
        credit: number of requests that a worker holds, and works on, at once.
        repeatable: True if a request may be retried on another worker when its worker dies.

    Raises:
        InvalidArgument: no name, a credit below 1, or a handler that cannot be called with payload and request.
    """
    if not isinstance(name, str) or not name:
        raise InvalidArgument(f"a service has a name, not {name!r}: write @dagbox.service('name')")
    if isinstance(credit, bool) or not isinstance(credit, int) or credit < 1:
        raise InvalidArgument(f"the credit of a service is a whole number of at least 1, not {credit!r}")

    def wrap(function: Handler) -> ServiceFunction:
        _check_handler(function, name)
        return ServiceFunction(function, name, credit, repeatable)

    return wrap


def _check_handler(function: Any, name: str) -> None:
    """Raises InvalidArgument for a handler that would fail at each call."""
    wanted = f"the handler of {name} is a function (payload, request) -> value"
    if not callable(function):
        raise InvalidArgument(f"{wanted}, not {shown_value(function)}")
    called = function
    while isinstance(called, functools.partial):
        called = called.func
    if not (inspect.isroutine(called) or inspect.isclass(called)):
        called = type(called).__call__
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise InvalidArgument(f"{wanted}: it runs on a thread, so write def, not async def")
    if inspect.isgeneratorfunction(called):
        raise InvalidArgument(f"{wanted}: send parts with request.partial(value), not with yield")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions in C tell none
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise InvalidArgument(f"{wanted}; it cannot be called with both: {error}") from None


class FunctionService:
    """Run a `ServiceFunction` as a `Service`.

    Attributes:
        wake: called from any thread when `tick` has outcomes; set by the driver.
    """

    gather = 16
    traits = Traits()
    broken: DagBoxError | None = None

    def __init__(self, function: ServiceFunction) -> None:
        self.name = function.name
        self.credit = function.credit
        self.repeatable = function.repeatable
        self._function = function
        self.wake: Callable[[], None] = lambda: None
        self._ready: deque[Outcome] = deque()
        self._running: dict[bytes, ServiceRequest] = {}
        self._noted: deque[Note] = deque(maxlen=MOST_NOTES_KEPT)
        self._pool = ThreadPoolExecutor(function.credit, thread_name_prefix=f"service {function.name}")

    def handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        """Start working on requests."""
        for request in requests:
            handed = ServiceRequest(request, self._put, self._noted.append)
            self._running[request.key] = handed
            self._pool.submit(self._work, request, handed)
        return self.tick(now)

    def cancel(self, key: bytes, now: float) -> Sequence[Outcome]:
        """Mark the request as cancelled for its handler."""
        running = self._running.get(key)
        if running is not None:
            running._cancel()
        return self.tick(now)

    def tick(self, now: float) -> Sequence[Outcome]:
        """Return the outcomes of finished handlers."""
        ready: list[Outcome] = []
        while self._ready:
            outcome = self._ready.popleft()
            if not isinstance(outcome, Partial):
                self._running.pop(outcome.request.key, None)
            ready.append(outcome)
        return ready

    def next_deadline(self) -> float | None:
        """Return None: the handlers wake the loop."""
        return None

    def report(self) -> dict[str, Any]:
        """Return `{"running"}`: the number of requests in progress."""
        return {"running": len(self._running)}

    def notes(self) -> list[Note]:
        """Return the spans that handlers began or ended since the last call; of one that did both, its end."""
        noted = [self._noted.popleft() for _ in range(len(self._noted))]
        over = {note._replace(ended=None) for note in noted if note.ended is not None}
        return [note for note in noted if note not in over]

    def close(self) -> None:
        """Wait for running handlers; start no more. Idempotent."""
        for running in list(self._running.values()):
            running._cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _put(self, outcome: Outcome) -> None:
        self._ready.append(outcome)
        self.wake()

    def _work(self, request: Request, handed: ServiceRequest) -> None:
        self._put(self._outcome(request, handed))

    def _outcome(self, request: Request, handed: ServiceRequest) -> Outcome:
        if handed.cancelled:
            return Failed(request, Cancelled(self.name))
        try:
            with serving(request.key):
                value = self._function(unpack(request.body), handed)
            if isinstance(value, ForwardTo):
                return Forward(request, value.service, pack(value.payload))
            return Reply(request, pack(value))
        except DagBoxError as error:
            return Failed(request, error)
        except BaseException as error:  # whatever it was: the request is answered, and its credit comes back
            log.exception("the handler of %s failed", self.name)
            return Failed(request, failure_of(self.name, error))
