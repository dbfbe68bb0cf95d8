"""Check values that come from outside: each function returns the value or raises a typed error that names it.

Every operation passes through here, so the good case is as short as it can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from typing import Any

from dagbox.errors import InvalidArgument, LimitExceeded, shown_value
from dagbox.protocol.values import MAX_KEY_BYTES, Ref, check_bucket, check_key

MAX_WHOLE = 2**63 - 1
"""The highest whole number of an operation: 63 bits, so that every language and engine can hold it."""

_KINDS = {
    type(None): "nil",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    bytes: "binary data",
    list: "an array",
    tuple: "an array",
    dict: "a map",
    Ref: "a ref",
}


def kind_of(value: object) -> str:
    """Return the kind of a value in the words of error messages: `text`, `a map`, `nil`, ..."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")


@lru_cache(maxsize=4096)
def _bucket_text(bucket: str) -> str:
    return check_bucket(bucket)


def bucket_name(value: object) -> str:
    """Return the bucket name. Same as `check_bucket`, but cached.

    Raises:
        BadBucket: it is not a name that users may use.
    """
    return _bucket_text(value) if type(value) is str else check_bucket(value)


def record_key(value: object) -> str:
    """Return the key. Same as `check_key`, but faster for ASCII.

    Raises:
        BadKey: it is not a key.
    """
    if type(value) is str and value.isascii() and 0 < len(value) <= MAX_KEY_BYTES:
        return value
    return check_key(value)


def record_name(bucket: object, key: object) -> tuple[str, str]:
    """Return the bucket and key of a record.

    Raises:
        BadBucket, BadKey: one of them is not valid.
    """
    name = _bucket_text(bucket) if type(bucket) is str else check_bucket(bucket)
    if type(key) is str and key.isascii() and 0 < len(key) <= MAX_KEY_BYTES:
        return name, key
    return name, check_key(key)


def map_of(value: object, allowed: Set[str], what: str, needed: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return the map.

    Raises:
        InvalidArgument: not a map, an unknown field (the message lists the known ones), or a missing field.
    """
    if type(value) is not dict and not isinstance(value, Mapping):
        raise InvalidArgument(f"{what} is a map, not {kind_of(value)}")
    if not value.keys() <= allowed:
        unknown = next(field for field in value if field not in allowed)
        known = ", ".join(sorted(allowed))
        raise InvalidArgument(f"{what} has no field {shown_value(unknown)}: the fields are {known}")
    for field in needed:
        if field not in value:
            raise InvalidArgument(f"{what} needs the field {field!r}")
    return value


def required(operation: Mapping[str, Any], field: str, what: str) -> Any:
    """Return a required field.

    Raises:
        InvalidArgument: it is missing.
    """
    try:
        return operation[field]
    except KeyError:
        raise InvalidArgument(f"{what} needs the field {field!r}") from None


def whole(value: object, name: str, minimum: int = 0, maximum: int = MAX_WHOLE) -> int:
    """Return the number if it is a whole number in the range.

    Raises:
        InvalidArgument: not a whole number, or below the minimum.
        LimitExceeded: above the maximum.
    """
    if type(value) is not int:
        raise InvalidArgument(f"{name} is a whole number, not {kind_of(value)}")
    if value < minimum:
        raise InvalidArgument(f"{name} is {shown_value(value)}, the least allowed is {minimum}")
    if value > maximum:
        raise LimitExceeded(name, min(value, 2**64 - 1), maximum)
    return value


def flag(value: object, name: str) -> bool:
    """Return the value if it is true or false. Raises InvalidArgument otherwise."""
    if type(value) is not bool:
        raise InvalidArgument(f"{name} is true or false, not {kind_of(value)}")
    return value


def text(value: object, name: str, max_bytes: int, *, empty: bool = False) -> str:
    """Return the value if it is text of at most `max_bytes` of UTF-8.

    Raises:
        InvalidArgument: not text, empty though it must not be, or not valid Unicode.
        LimitExceeded: too long.
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} is text, not {kind_of(value)}")
    if not value and not empty:
        raise InvalidArgument(f"{name} is empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"{name} is not valid Unicode") from None
    if size > max_bytes:
        raise LimitExceeded(f"{name} (bytes)", size, max_bytes)
    return value


def plain_text(value: object, name: str) -> str:
    """Return the value if it is text, of any length. Raises InvalidArgument otherwise."""
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} is text, not {kind_of(value)}")
    return value


def array(value: object, name: str) -> list[Any] | tuple[Any, ...]:
    """Return the value if it is an array. Raises InvalidArgument otherwise."""
    if not isinstance(value, list | tuple):
        raise InvalidArgument(f"{name} is an array, not {kind_of(value)}")
    return value


def fence_pairs(value: object, most: int) -> list[tuple[str, int]]:
    """Return the lock keys and tokens of a fence.

    Raises:
        InvalidArgument: not an array of pairs, or a token that is not a whole number.
        BadKey: a key that is none.
        LimitExceeded: too many.
    """
    pairs = array(value, "the fence of a write")
    check_fences(len(pairs), most)
    found = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InvalidArgument(f"a fence is an array of pairs [lock key, token], found {kind_of(pair)}")
        found.append((record_key(pair[0]), whole(pair[1], "a fencing token")))
    return found


def check_fences(count: int, most: int) -> None:
    """Raise LimitExceeded if a write has too many fences."""
    if count > most:
        raise LimitExceeded("number of fences of one write", count, most)


class PlainPairs(list[tuple[str, str]]):
    """A list that `are_plain_pairs` has said yes to: a node in the same process need not look at it again."""


def are_plain_pairs(pairs: Sequence[Any]) -> bool:
    """Return True if all pairs are tuples of a valid bucket name and a short ASCII key.

    This is the common case of many refs, checked all at once, in C. If it returns False, check them one by one.

    Raises:
        BadBucket: all are plain except for an invalid bucket name.
    """
    if type(pairs) is PlainPairs:
        return True
    if not pairs or set(map(type, pairs)) != {tuple} or set(map(len, pairs)) != {2}:
        return False
    buckets, keys = zip(*pairs, strict=True)
    if set(map(type, keys)) != {str} or set(map(type, buckets)) != {str}:
        return False
    lengths = set(map(len, keys))
    if not min(lengths) or max(lengths) > MAX_KEY_BYTES or not "".join(keys).isascii():
        return False
    for bucket in dict.fromkeys(buckets):
        bucket_name(bucket)
    return True
