"""Reports of clients to the broker on the calls that they made without it, in the body of a PING."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from dagbox.errors import InvalidArgument, shown_value
from dagbox.protocol.validate import whole

_MOST_SERVICE_BYTES = 255
_LONGEST_S = 1e9
_MOST_CALLS = 10**12
"""Calls of one report: however many reports there are, their sums can be packed."""


class DirectReport(NamedTuple):
    """Sums of the calls of one service since the report before.

    Args:
        number: of the report, from 1 up: one that comes twice counts once.
        service: name of the service that would have done them.
        done: how many there were, failed ones among them.
        errors: how many failed.
        sampled: how many of them were timed.
        busy_s: seconds that these took together.
        slowest_s: seconds that the slowest of these took.
    """

    number: int
    service: str
    done: int
    errors: int
    sampled: int
    busy_s: float
    slowest_s: float

    def to_wire(self) -> dict[str, Any]:
        """Return the map that a PING carries."""
        return {"direct": self._asdict()}

    @classmethod
    def from_wire(cls, value: object) -> DirectReport | None:
        """Return the report in the body of a PING; None if there is none in it.

        Raises:
            InvalidArgument: not of this form.
        """
        report = value.get("direct") if isinstance(value, dict) else None
        if report is None:
            return None
        if not isinstance(report, dict) or report.keys() != set(cls._fields):
            raise InvalidArgument(f"a report of direct calls is a map of {', '.join(cls._fields)}")
        service = report["service"]
        if not isinstance(service, str) or not 0 < len(service.encode()) <= _MOST_SERVICE_BYTES:
            raise InvalidArgument(f"a service is text of 1 to {_MOST_SERVICE_BYTES} bytes, not {shown_value(service)}")
        number = whole(report["number"], "number")
        done, errors, sampled = (whole(report[name], name, 0, _MOST_CALLS) for name in ("done", "errors", "sampled"))
        busy_s, slowest_s = (_seconds(report[name], name) for name in ("busy_s", "slowest_s"))
        if errors > done or sampled > done or slowest_s > busy_s:
            raise InvalidArgument("a report of direct calls has more failed or sampled calls than calls")
        return cls(number, service, done, errors, sampled, busy_s, slowest_s)


def _seconds(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST_S:
        raise InvalidArgument(f"{name} is a number of seconds, not {shown_value(value)}")
    return value if math.isfinite(value) else 0.0
