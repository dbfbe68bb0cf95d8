"""Roles of text: what a state, an event or a duration means. A palette gives each role its style. Knows no Textual."""

from __future__ import annotations

STATES = {
    "live": ("●", "good"),
    "late": ("▲", "warn"),
    "draining": ("◌", "second"),
    "dead": ("✗", "bad"),
    "unknown": ("?", "dim"),
}
"""The sign and the role of each state of a worker: the sign carries the meaning, the colour repeats it."""
_EVENT_ROLES = {
    "joined": "good",
    "back": "good",
    "resumed": "good",
    "late": "warn",
    "draining": "second",
    "left": "second",
    "paused": "warn",
    "redelivered": "warn",
    "refused": "warn",
    "deadline": "warn",
    "held": "accent",
    "break set": "accent",
    "slow": "warn",
    "dead": "bad",
    "dead letter": "bad",
    "malformed": "bad",
    "undeliverable": "bad",
    "restarted": "bad",
}


def state_role(state: str) -> str:
    """The role of a worker's state."""
    return STATES.get(state, ("", ""))[1]


def state_text(state: str) -> str:
    """Return a worker's state with its sign."""
    sign = STATES.get(state, ("", ""))[0]
    return f"{sign} {state}" if sign else state


def event_role(kind: str) -> str:
    """The role of an event's kind."""
    return _EVENT_ROLES.get(kind, "")


def slow_role(ms: float) -> str:
    """Return the role of a duration in milliseconds."""
    return "bad" if ms >= 1000 else "warn" if ms >= 100 else "" if ms else "dim"
