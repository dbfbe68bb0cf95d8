"""The live source of polls: the node, through the public client. Knows no Textual.

Rules:

1. One thread polls; any thread may act. What is asked while nobody answers fails within `ASK_S`.
2. A poll is one request to the broker (`status` with its parts, and those that the rules of problems look at), and one
   more to each service whose own figures the screen shows; a service that nobody serves is not asked. While somebody
   waits for a lock, the locks are asked for too. Polls are in no trace, rate or figure of the node.
3. What a single part fails with is told beside the rest (`problems`), and the rest is shown.
4. Of the last traces a poll asks for those since the poll before; how many it missed is in the poll (`missed`).
5. After a failure the next poll connects anew, by the name that was given: a node that came back elsewhere is found.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import dagbox
from dagbox import problems as rules
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.polling.window import TraceWindow

ASK_S = 3.0
"""The time that a poll or an act waits for its answer, in seconds."""
AWAY_S = 1.0
"""The time that a node may be away before it is said that it has stopped, in seconds."""
EVENTS_AT_ONCE = 500
LOCKS_SHOWN = 1_000
_PLACES_AT_ONCE = 1_000
_BROKER_PARTS = ("traces", "slowest", "open", "breaks", "held", "dead_letters")
_SERVICE_PARTS = {
    "locks": ("lock", {"op": "list", "limit": LOCKS_SHOWN}),
    "rules": ("logic", {"op": "rules"}),
    "facts": ("logic", {"op": "predicates"}),
}


class Source(Protocol):
    """Gives polls to the dashboard."""

    name: str
    """The target: a directory, an address or a file."""
    live: bool
    """True if acts can be done on it."""

    def polls(self, request: PollRequest) -> list[Map]:
        """The polls since the last call, oldest first; blocks until the next one is there, or was asked for.

        Raises:
            dagbox.DagBoxError: nobody answers.
        """

    def close(self) -> None:
        """Give everything back."""


class LiveSource:
    """Polls a node.

    Args:
        target: a directory or URL; None: DAGBOX_URL.
        clock: seconds since 1970.
    """

    live = True

    def __init__(self, target: str | None, clock: Callable[[], float] = time.time) -> None:
        self.name = target or "DAGBOX_URL"
        self._target = target
        self._clock = clock
        self._gate = threading.Lock()
        self._db: dagbox.Database | None = None
        self._epoch = ""
        self._seq = 0
        self._first = True
        self._window = TraceWindow()

    # ------------------------------------------------------------------ connection

    def connect(self) -> dagbox.Database:
        """The connection; made if there is none.

        Raises:
            dagbox.CannotConnect: nobody answers.
        """
        with self._gate:
            if self._db is None:
                db = dagbox.connect(self._target, timeout=ASK_S, direct=False, patience=AWAY_S, tool=True)
                try:
                    db.__enter__()
                except BaseException:
                    db.close()
                    raise
                self._db = db
            return self._db

    def disconnect(self) -> None:
        """Drop the connection; the next poll makes one."""
        with self._gate:
            db, self._db = self._db, None
        if db is not None:
            db.close()

    def close(self) -> None:
        """Give everything back."""
        self.disconnect()

    # ------------------------------------------------------------------ polls

    def polls(self, request: PollRequest) -> list[Map]:
        """One poll, made now."""
        try:
            return [self._poll(self.connect(), request)]
        except dagbox.DagBoxError:
            self._first = True
            self.disconnect()
            raise

    def _poll(self, db: dagbox.Database, request: PollRequest) -> Map:
        answer = self._status(db, request)
        if answer["broker"].get("epoch") != self._epoch:
            self._epoch = answer["broker"].get("epoch", "")
            if self._seq or self._window.begun:
                self._seq = 0
                self._window.reset()
                answer = self._status(db, request)
        self._first = False
        events = answer.get("events", [])
        if events:
            self._seq = events[-1]["seq"]
        poll: Map = {**answer, "at": self._clock()}
        if request.traces:
            poll["follow"] = request.follow
        problems: dict[str, str] = {}
        self._take_traces(poll, problems)
        served = {each["name"] for each in answer["services"] if each["live"] + each["late"]}
        wanted = request.parts | {"locks"} if rules.asks_locks(answer) else request.parts
        for part in sorted(wanted & _SERVICE_PARTS.keys()):
            service, operation = _SERVICE_PARTS[part]
            if service not in served:
                problems[part] = f"no worker serves {service}"
                continue
            try:
                poll[part] = db.call(service, operation, repeatable=True, untraced=True)
            except dagbox.DagBoxError as error:
                problems[part] = str(error)
        if problems:
            poll["problems"] = problems
        return poll

    def _take_traces(self, poll: Map, problems: dict[str, str]) -> None:
        """Put the traces as far as they were read in the place of what the poll brought of their log."""
        if "traces" not in poll:
            self._window.reset()
            return
        try:
            poll["traces"] = self._window.take(poll["traces"], poll["at"])
        except dagbox.ProtocolError as error:
            self._window.reset()
            del poll["traces"]
            problems["traces"] = str(error)
        if self._window.missed:
            poll["missed"] = {"traces": self._window.missed}

    def _status(self, db: dagbox.Database, request: PollRequest) -> Map:
        parts: Map = {"events": {"after": self._seq, "limit": EVENTS_AT_ONCE}}
        for name in _BROKER_PARTS:
            if name in request.parts:
                parts[name] = {"limit": request.limit} if name in ("slowest", "open") else {}
                parts[name] |= request.follow if name == "slowest" else {}
        if "traces" in request.parts:
            parts["traces"] = self._window.body(request)
        for name, body in rules.PARTS.items():
            parts.setdefault(name, body)
        answer = db.call("status", {"course": self._first, "parts": parts}, repeatable=True)
        if not isinstance(answer, dict) or not {"broker", "services", "workers"} <= answer.keys():
            raise dagbox.ProtocolError("the answer to status has not the form this dashboard knows")
        return answer

    # ------------------------------------------------------------------ acts and questions

    @contextlib.contextmanager
    def _asking(self) -> Iterator[dagbox.Database]:
        yield self.connect()

    def control(self, op: str, **arguments: Any) -> Any:
        """Have the broker do something; what it answers."""
        with self._asking() as db:
            return db.call("control", {"op": op, **arguments})

    def node(self, op: str, **arguments: Any) -> Any:
        """Have the supervisor of the node do something; what it answers."""
        with self._asking() as db:
            return db.call("node", {"op": op, **arguments}, timeout=30.0)

    def release(self, key: str) -> bool:
        """Take a lock away from its holders."""
        with self._asking() as db:
            return db.release(key, force=True)

    def records(self, bucket: str, prefix: str, start: str | None, limit: int) -> list[dagbox.Record]:
        """Records of a bucket, in the order of their keys; one that cannot be read has the reason as its data."""
        found: list[dagbox.Record] = []

        def skip(error: dagbox.UnreadableRecord) -> None:
            found.append(dagbox.Record(bucket, error.key, 0, f"cannot be read: {error.reason}"))

        with self._asking() as db:
            for record in db.scan(bucket, prefix=prefix, start=start, limit=limit, skip=skip):
                found.append(record)
        return found

    def record(self, bucket: str, key: str) -> dagbox.Record | None:
        """One record, or None."""
        with self._asking() as db:
            found = db.get_record(bucket, key, default=None)
            return found if isinstance(found, dagbox.Record) else None

    def homes(self, keys: list[str]) -> dict[str, dagbox.Ref]:
        """The records that have these keys, in the first bucket that has one."""
        with self._asking() as db:
            places = [(bucket, key) for bucket in db.buckets() for key in keys]
            found: dict[str, dagbox.Ref] = {}
            unreadable: list[dagbox.UnreadableRecord] = []
            for first in range(0, len(places), _PLACES_AT_ONCE):
                for record in db.get_many(places[first : first + _PLACES_AT_ONCE], skip=unreadable.append):
                    if record is not None:
                        found.setdefault(record.key, dagbox.Ref(record.bucket, record.key))
            for error in unreadable:
                found.setdefault(error.key, dagbox.Ref(error.bucket, error.key))
            return found

    def query(self, goal: str, limit: int, timeout_s: float) -> list[dict[str, Any]]:
        """The rows of a goal."""
        with self._asking() as db:
            return db.query(goal, limit=limit, timeout=timeout_s)

    def why(self, goal: str) -> Any:
        """The proof tree of an answer."""
        with self._asking() as db:
            return db.why(goal)
