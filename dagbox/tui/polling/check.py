"""The form of a poll, checked before it is taken. Knows no Textual."""

from __future__ import annotations

import dagbox
from dagbox.tui.polling.request import Map

_SERVICE_FIELDS = frozenset(
    (
        *("name", "waiting", "waiting_bytes", "held", "in_flight", "live", "late", "draining", "dead", "paused"),
        *("done", "errors", "refused", "redelivered", "rate", "wait", "work"),
    )
)
_WORKER_FIELDS = frozenset(
    (
        *("name", "service", "id", "pid", "host", "state", "heard_ms", "pings", "age_ms", "credit", "in_use"),
        *("done", "errors", "rate", "cpu", "rss", "repeatable"),
    )
)
_EVENT_FIELDS = frozenset(("seq", "age_ms", "kind", "subject", "text"))


def check_poll(poll: Map) -> None:
    """Raise ProtocolError unless a poll has what the screens rely on."""
    try:
        for name, needed in (("services", _SERVICE_FIELDS), ("workers", _WORKER_FIELDS), ("events", _EVENT_FIELDS)):
            for each in poll.get(name, []):
                missing = needed - each.keys()
                if missing:
                    raise dagbox.ProtocolError(f"one of the {name} has no {sorted(missing)[0]!r}")
        if not isinstance(poll.get("broker"), dict) or not isinstance(poll.get("at"), int | float):
            raise dagbox.ProtocolError("the status tells nothing of the broker, or no time")
    except (TypeError, AttributeError):
        raise dagbox.ProtocolError("the status is not of lists of maps") from None
