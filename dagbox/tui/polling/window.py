"""The last traces of a node, read from its log: each is read once, and what was missed is counted. Knows no Textual."""

from __future__ import annotations

from collections import deque
from typing import Any

import dagbox
from dagbox.tui.polling.request import Map, PollRequest

_NUMBERS = ("oldest", "last", "missed")
_NOTHING_NOTED: Map = {"last": 0, "notes": {}}


class TraceWindow:
    """The traces that a face shows, as they were read so far.

    A poll asks for what ended since the one before, and for what workers noted since of requests that had ended. The
    window begins anew where that makes no sense: the filter is another, the last poll asked for no traces, or the
    broker was started anew (`reset`).
    """

    def __init__(self) -> None:
        self.missed = 0
        """How many requests ended between the last two polls and were not read."""
        self._last: int | None = None
        self._noted: int | None = None
        self._limit = 0
        self._filter: tuple[tuple[str, str], ...] = ()
        self._read: deque[tuple[float, Map]] = deque()

    @property
    def begun(self) -> bool:
        """Return True if the next poll goes on where the last one ended."""
        return self._last is not None

    def reset(self) -> None:
        """Begin anew with the next poll."""
        self._last, self._noted, self.missed = None, None, 0
        self._read.clear()

    def body(self, request: PollRequest) -> Map:
        """Return what to ask the node for."""
        if request.traces != self._filter:
            self.reset()
        self._filter = request.traces
        self._limit = request.limit
        return {**request.follow, "after": self._last, "noted_after": self._noted, "newest": True, "limit": self._limit}

    def take(self, answer: Any, at: float) -> Any:
        """Take in an answer of that time, in seconds since 1970; return the traces, the latest first.

        A node of an earlier version answers with that list itself.

        Raises:
            dagbox.ProtocolError: the answer is neither a list nor a log.
        """
        if isinstance(answer, list):
            self.reset()
            return answer
        check_log(answer)
        self.missed, self._last = answer["missed"], answer["last"]
        self._take_notes(answer)
        self._read.extendleft((at, trace) for trace in answer["traces"])
        while self._read and (len(self._read) > self._limit or self._read[-1][1]["seq"] < answer["oldest"]):
            self._read.pop()
        return [_aged(trace, (at - read_at) * 1e3) for read_at, trace in self._read]

    def _take_notes(self, answer: Map) -> None:
        """Take in what workers noted of requests that were read already."""
        noted = answer.get("noted", _NOTHING_NOTED)
        self._noted = noted["last"]
        for place, (at, trace) in enumerate(self._read):
            if trace["id"] in noted["notes"]:
                self._read[place] = at, trace | {"notes": noted["notes"][trace["id"]]}


def check_log(answer: Any) -> None:
    """Raise ProtocolError unless an answer has the form of a log."""
    if isinstance(answer, dict):
        traces, noted = answer.get("traces"), answer.get("noted", _NOTHING_NOTED)
        numbers = all(type(answer.get(name)) is int for name in _NUMBERS)
        if numbers and isinstance(traces, list) and all(_is_trace(each) for each in traces) and _is_noted(noted):
            return
    raise dagbox.ProtocolError("the log of traces has not the form this dashboard knows")


def _is_trace(value: Any) -> bool:
    if not isinstance(value, dict) or type(value.get("seq")) is not int or type(value.get("id")) is not str:
        return False
    return isinstance(value.get("age_ms"), int | float)


def _is_noted(value: Any) -> bool:
    return isinstance(value, dict) and type(value.get("last")) is int and isinstance(value.get("notes"), dict)


def _aged(trace: Map, passed_ms: float) -> Map:
    return trace | {"age_ms": trace["age_ms"] + passed_ms} if passed_ms > 0 else trace
