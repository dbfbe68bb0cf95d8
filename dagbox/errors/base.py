"""The root of all errors: code, message, fields, and the way over the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dagbox.text.terminal import printable

_BY_CODE: dict[str, type[DagBoxError]] = {}
_TAKEN = frozenset({"self", "message"})
"""No names for fields: the parameters of the constructor."""


class DagBoxError(Exception):
    """The root of all errors of DagBox.

    Args:
        message: one line that names what was wrong and what to do. Of names and texts of others that stand in it,
            what a terminal would act on is escaped.
        fields: what was wrong as values that MessagePack can carry; each is an attribute too.
    """

    code: str = "error"
    ordinary: bool = False
    """True if it is an answer like any other (a conflict, an absence): figures of errors leave it out."""

    def __init__(self, message: str, **fields: Any) -> None:
        if isinstance(message, str):
            message = printable(message)
        super().__init__(message)
        self.message = message
        self.fields = fields
        for name, value in fields.items():
            if name not in ("message", "fields") and not hasattr(DagBoxError, name):
                setattr(self, name, value)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" in cls.__dict__:
            _BY_CODE[cls.code] = cls

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Callable[..., DagBoxError], tuple[dict[str, Any]]]:
        return error_from_wire, (self.to_wire(),)

    def to_wire(self) -> dict[str, Any]:
        """The error as a map of plain values: `{"code", "message", "fields"}`."""
        return {"code": self.code, "message": self.message, "fields": self.fields}


def is_fault(code: str) -> bool:
    """Return True if an answer with this code counts as an error; no code is no error."""
    return bool(code) and not _BY_CODE.get(code, DagBoxError).ordinary


def error_from_wire(value: object) -> DagBoxError:
    """Rebuild an error from its map; never raises, whatever the map holds."""
    if not isinstance(value, Mapping):
        return DagBoxError("an error that does not parse came back")
    code, message, fields = value.get("code"), value.get("message"), value.get("fields")
    known = _BY_CODE.get(code, DagBoxError) if isinstance(code, str) else DagBoxError
    error = known.__new__(known)
    clean = (
        {k: v for k, v in fields.items() if isinstance(k, str) and k.isidentifier() and k[0] != "_" and k not in _TAKEN}
        if isinstance(fields, Mapping)
        else {}
    )
    DagBoxError.__init__(error, str(message), **clean)
    if known is DagBoxError and isinstance(code, str):
        error.code = code
    return error


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s" if count else ""


def shown_value(value: object, length: int = 60) -> str:
    """A value as messages show it: never longer than `length`, never a nested one's inside (it may have no end)."""
    if isinstance(value, str | bytes):
        shown = repr(value[: length + 1])
    elif isinstance(value, Mapping):
        shown = f"{{{counted(len(value), 'field')}}}"
    elif isinstance(value, list | tuple):
        shown = f"[{counted(len(value), 'item')}]"
    elif isinstance(value, int) and value.bit_length() > 64:
        shown = f"<a number of {value.bit_length()} bits>"
    else:
        shown = repr(value)
    return shown if len(shown) <= length else shown[: length - 3] + "..."
