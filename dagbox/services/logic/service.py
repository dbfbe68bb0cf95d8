"""The logic service: each request runs on a thread, so that a long query does not keep a short one waiting.

Rules:

1. At most `THREADS` requests run at once, and at most `PER_CLIENT` of one client: the others of that client wait in
   a line of their own, and the clients' lines take turns. So one client's long queries leave room for others.
2. `running` and `stop` are answered at once, by whichever thread drives the service.
3. A query ends by itself: at the request's deadline (a little before, so that its own error, which tells how far it
   came, arrives in time), at its budget, when it is stopped, or when its client takes it back.
4. Python runs one thread at a time: long queries compute one at a time, and step aside for short ones (`lanes`). More
   workers make more of them run at once.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dagbox.errors import Cancelled, DagBoxError, ServiceFailed, StoreBroken
from dagbox.protocol.names import shown_peer, shown_request
from dagbox.protocol.operations.base import to_wire
from dagbox.protocol.operations.logic import LOGIC, ListRunning, StopQuery
from dagbox.protocol.traits import Combine, Traits
from dagbox.protocol.values import pack
from dagbox.services.base import Failed, Forward, Outcome, Request
from dagbox.services.logic.jobs import Job
from dagbox.services.logic.operations import AtOnce, ForwardTo, LogicOperations
from dagbox.services.logic.peers import SHOW_S
from dagbox.services.operations import Answers, receive, unpack_body

log = logging.getLogger("dagbox.logic")

THREADS = 32
PER_CLIENT = 4
_MARGIN = 0.05
_LONGEST_MARGIN_S = 0.25


class LogicService:
    """The logic service; any number of them may serve one store.

    Args:
        operations: what it does.
        close_store: called at the end, if the store was opened for it.

    Attributes:
        wake: called, from any thread, when `tick` has outcomes to give; whoever drives the service sets it.
    """

    name = "logic"
    credit = 256
    repeatable = True
    gather = 32
    traits = Traits(reports={"logic": Combine.SUM})

    def __init__(self, operations: LogicOperations, close_store: Callable[[], None] | None = None) -> None:
        self._operations = operations
        self._close_store = close_store
        self.wake: Callable[[], None] = lambda: None
        self.broken: DagBoxError | None = None
        self._answers = Answers()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="dagbox logic")
        self._ready: deque[Outcome] = deque()
        self._lines: dict[bytes, deque[Request]] = {}
        self._busy: Counter[bytes] = Counter()
        self._at_work: dict[bytes, tuple[Request, Job]] = {}
        self._look_at = 0.0

    # --- what the driver calls

    def handle(self, requests: Sequence[Request], now: float) -> Sequence[Outcome]:
        """Take requests on; what is ready."""
        outcomes: list[Outcome] = []
        for request in requests:
            answered = self._answer_at_once(request)
            if answered is not None:
                outcomes.append(answered)
            else:
                self._lines.setdefault(request.client, deque()).append(request)
        outcomes.extend(self.tick(now))
        return outcomes

    def cancel(self, key: bytes, now: float) -> Sequence[Outcome]:
        """Stop what the client took back."""
        held = self._at_work.get(key)
        if held is not None:
            held[1].stop()
            return self.tick(now)
        line = self._lines.get(key[:8], deque())
        taken = [request for request in line if request.key == key]
        for request in taken:
            line.remove(request)
        if not line:
            self._lines.pop(key[:8], None)
        return [*(Failed(request, Cancelled(self.name)) for request in taken), *self.tick(now)]

    def tick(self, now: float) -> Sequence[Outcome]:
        """Return what the threads have finished; the next ones begin."""
        outcomes: list[Outcome] = []
        while self._ready:
            outcome = self._ready.popleft()
            request = outcome.request
            self._at_work.pop(request.key, None)
            self._busy[request.client] -= 1
            if not self._busy[request.client]:
                del self._busy[request.client]
            if isinstance(outcome, Failed) and isinstance(outcome.error, StoreBroken):
                self.broken = outcome.error
            outcomes.append(outcome)
        self._begin_more()
        if now >= self._look_at:
            self._operations.show_and_stop()
            self._look_at = now + SHOW_S
        return outcomes

    def next_deadline(self) -> float | None:
        """Return when to look at what the other workers want; the threads wake the loop when they are done."""
        return self._look_at if self._at_work and self._operations.peers is not None else None

    def report(self) -> dict[str, Any]:
        """`{"logic": figures}`."""
        waiting = sum(map(len, self._lines.values()))
        return {"logic": {**self._operations.report(), "waiting": waiting}}

    def close(self) -> None:
        """Stop what runs, and give the store back."""
        self._lines.clear()
        for _, job in list(self._at_work.values()):
            job.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._operations.show_and_stop()
        if self._close_store is not None:
            self._close_store()

    # --- lines

    def _begin_more(self) -> None:
        """Begin as many requests as may run, one of each client in turn."""
        begun = True
        while begun and len(self._at_work) < THREADS:
            begun = False
            for client in list(self._lines):
                if self._busy.get(client, 0) >= PER_CLIENT or len(self._at_work) >= THREADS:
                    continue
                line = self._lines.pop(client)
                self._begin(line.popleft())
                begun = True
                if line:
                    self._lines[client] = line  # behind the other clients

    def _begin(self, request: Request) -> None:
        job = Job(shown_request(request.key), shown_peer(request.client), _ends(request))
        self._at_work[request.key] = (request, job)
        self._busy[request.client] += 1
        self._pool.submit(self._work, request, job)

    # --- work

    def _work(self, request: Request, job: Job) -> None:
        """Do a request, on a thread of the pool."""
        try:
            outcome = self._outcome(request, job)
        except DagBoxError as error:
            outcome = Failed(request, error)
        except Exception as error:
            # A defect of ours, as the worker's loop takes one: the request is answered, the thread goes on.
            log.exception("a request to logic failed")
            outcome = Failed(request, ServiceFailed(self.name, type(error).__name__, str(error)))
        self._ready.append(outcome)
        self.wake()

    def _outcome(self, request: Request, job: Job) -> Outcome:
        operations, bare = receive(request.body, LOGIC)
        one = operations[0] if bare else None
        result = self._operations.run(one if one is not None and not isinstance(one, DagBoxError) else operations, job)
        if isinstance(result, ForwardTo):
            return Forward(request, "reader", pack(to_wire(result.body)))
        return Answers().bare(request, result) if bare else Answers().reply(request, result)

    def _answer_at_once(self, request: Request) -> Outcome | None:
        try:
            body = unpack_body(request.body)
            if type(body) is not dict or body.get("op") not in _AT_ONCE:
                return None
            operation = LOGIC.make(body)
            if not isinstance(operation, AtOnce):
                return None
            return self._answers.bare(request, self._operations.answer_at_once(operation))
        except DagBoxError as error:
            return Failed(request, error)


_AT_ONCE = (ListRunning.op, StopQuery.op)


def _ends(request: Request) -> float | None:
    """Return when a request is given up: a little before its deadline."""
    if request.deadline is None:
        return None
    left = request.deadline - time.monotonic()
    return request.deadline - min(_LONGEST_MARGIN_S, left * _MARGIN)
