"""Errors of arguments that are not of the form the contract asks for."""

from __future__ import annotations

from dagbox.errors.base import DagBoxError, shown_value
from dagbox.text.terminal import printable


class InvalidArgument(DagBoxError, ValueError):
    """An argument or operation that is not of the form the contract gives. A ValueError too."""

    code = "invalid_argument"


class BadKey(InvalidArgument):
    """A key that is empty, too long or not text. Fields: key, reason."""

    code = "bad_key"
    key: str
    reason: str

    def __init__(self, key: object, reason: str) -> None:
        shown = shown_value(key)
        super().__init__(f"bad key {shown}: {reason}", key=shown, reason=reason)


class BadBucket(InvalidArgument):
    """A bucket name that is empty, too long, not text, or reserved. Fields: bucket, reason."""

    code = "bad_bucket"
    bucket: str
    reason: str

    def __init__(self, bucket: object, reason: str) -> None:
        shown = shown_value(bucket)
        super().__init__(f"bad bucket name {shown}: {reason}", bucket=shown, reason=reason)


class UnknownSetting(InvalidArgument):
    """A key of dagbox.toml that is no setting. Fields: setting, source (the file), near, known (names)."""

    code = "unknown_setting"
    setting: str
    source: str
    near: list[str]
    known: list[str]

    def __init__(self, setting: str, source: str, near: list[str], known: list[str]) -> None:
        hint = f"did you mean {' or '.join(near)}?" if near else f"the settings are {', '.join(known)}"
        super().__init__(
            f"no setting {setting!r} ({source}): {hint}", setting=setting, source=source, near=near, known=known
        )


class BadSetting(InvalidArgument):
    """A setting whose value cannot be. Fields: setting, value, reason, source (file or variable)."""

    code = "bad_setting"
    setting: str
    value: str
    reason: str
    source: str

    def __init__(self, setting: str, value: object, reason: str, source: str) -> None:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        super().__init__(
            f"{setting} is {shown} ({source}): {reason}", setting=setting, value=shown, reason=reason, source=source
        )


class BadLine(InvalidArgument):
    """A line of an import that cannot be read. Fields: line (from 1), reason."""

    code = "bad_line"
    line: int
    reason: str

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}", line=line, reason=reason)


class BadClause(InvalidArgument):
    """A clause of a read (`where`, `order`, ...) that cannot be read, or that does not fit the data.

    Fields: clause (its name), reason, text (the clause as text), start, end (of what is wrong in it, in characters),
    record (bucket/key of the record that it does not fit; empty: it fits none), snippet (the text, and a caret below).
    """

    code = "bad_clause"
    clause: str
    reason: str
    text: str
    start: int
    end: int
    record: str
    snippet: str

    def __init__(
        self, clause: str, reason: str, text: str = "", place: tuple[int, int] = (0, 0), record: str = ""
    ) -> None:
        start, end = place
        at = f" at {record}" if record else ""
        super().__init__(
            f"{clause}{at}: {reason}",
            clause=clause,
            reason=reason,
            text=text,
            start=start,
            end=end,
            record=record,
            snippet=_snippet(text, start, end),
        )


_SHOWN = 60
"""Characters of a text that a snippet shows on either side of the place."""


def _snippet(text: str, start: int, end: int) -> str:
    """Return the part of a text around a place, with carets below the place."""
    if not text:
        return ""
    first = max(0, start - _SHOWN)
    shown = printable(text[first : start + _SHOWN].replace("\n", " "))
    before = len(printable(text[first:start].replace("\n", " ")))
    carets = max(1, min(len(printable(text[start:end].replace("\n", " "))), len(shown) - before))
    return f"{shown}\n{' ' * before}{'^' * carets}"
