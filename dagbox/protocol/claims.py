"""The claims of a client about itself, and the features that a broker has beyond the oldest version of the protocol.

Nobody proves a claim: names are for people, and nothing is allowed or refused by them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dagbox.errors import DagBoxError, InvalidArgument, shown_value
from dagbox.protocol.validate import flag, whole
from dagbox.protocol.values import unpack_plain

HELLO = "hello"
"""The feature of a broker that asks clients who they are."""
PARTLY = "partly"
"""The feature of a broker that counts the operations that failed in an array of them."""
PARENT = "parent"
"""The feature of a broker that takes requests that name their parent."""
NOTES = "notes"
"""The feature of a broker that takes notes of workers on their requests."""
FEATURES = (HELLO, PARTLY, PARENT, NOTES)
"""The features of this version."""
WHO = "who"
"""The field of a PONG that asks."""

MAX_CLAIM_CHARACTERS = 200
_MAX_PID = 2**32 - 1
_MAX_PONG_BYTES = 64 * 1024


class Claims(NamedTuple):
    """A client in its own words.

    Args:
        name: what people call it.
        pid: of its process; 0: not told.
        host: where it runs.
        program: what it runs.
        tool: True if it watches or operates the node, and does no work of its own.
    """

    name: str
    pid: int = 0
    host: str = ""
    program: str = ""
    tool: bool = False

    def to_wire(self) -> dict[str, Any]:
        """Return the map that a PING carries."""
        return {HELLO: self._asdict()}

    @classmethod
    def from_wire(cls, value: object) -> Claims | None:
        """Return the claims in the body of a PING; None if there are none in it. Fields that are not known are ignored.

        Raises:
            InvalidArgument: not of this form.
        """
        told = value.get(HELLO) if isinstance(value, dict) else None
        if told is None:
            return None
        if not isinstance(told, dict):
            raise InvalidArgument(f"hello is a map of {', '.join(cls._fields)}, not {shown_value(told)}")
        name, host, program = (claim(told.get(field, ""), field) for field in ("name", "host", "program"))
        pid, tool = whole(told.get("pid", 0), "pid", 0, _MAX_PID), flag(told.get("tool", False), "tool")
        return cls(name, pid, host, program, tool)


UNKNOWN = Claims("")
"""The claims of a client that has told nothing."""


def claim(value: object, what: str) -> str:
    """Return the text of a claim.

    Raises:
        InvalidArgument: no text of at most `MAX_CLAIM_CHARACTERS`.
    """
    if type(value) is not str or len(value) > MAX_CLAIM_CHARACTERS:
        raise InvalidArgument(
            f"the {what} of a client is text of at most {MAX_CLAIM_CHARACTERS} characters, not {shown_value(value)}"
        )
    return value


def asks_who(pong: bytes) -> bool:
    """Return True if the body of a PONG asks who the client is; one of another form asks nothing."""
    return _told(pong).get(WHO) is True


def features_of(pong: bytes) -> frozenset[str]:
    """Return the features that the body of a PONG names; none if it is of another form, as of earlier versions."""
    named = _told(pong).get("features")
    return frozenset(each for each in named if isinstance(each, str)) if isinstance(named, list) else frozenset()


def _told(pong: bytes) -> dict[Any, Any]:
    try:
        told = unpack_plain(pong, "bytes of a pong", _MAX_PONG_BYTES) if pong else None
    except DagBoxError:
        return {}
    return told if isinstance(told, dict) else {}
