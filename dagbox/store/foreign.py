"""Names in a store that are not text: a program other than DagBox wrote them.

DagBox names records by text in UTF-8. The bytes of any other key pass through the store as text with lone surrogates
(PEP 383), which no name that DagBox accepts can have; on the way out the key is shown, and its data are `FOREIGN_KEY`.
So each such record is one error with its name, and pages can begin after it.
"""

from __future__ import annotations


def key_text(key: bytes) -> str:
    """Return the text of a key, with a lone surrogate for each byte that is not of UTF-8."""
    return key.decode(errors="surrogateescape")


def key_bytes(text: str) -> bytes:
    """Return the bytes of a key by its text: the other way of `key_text`."""
    return text.encode(errors="surrogateescape")


def text_or_none(name: bytes) -> str | None:
    """Return the text of a name; None if it is none."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


def shown_key(key: bytes) -> str:
    """Return how the bytes of a key are shown."""
    return key.decode(errors="backslashreplace")
