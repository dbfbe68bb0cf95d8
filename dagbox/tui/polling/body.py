"""The body of a message: MessagePack as it travels, even where it was cut off. Knows no Textual."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgpack

import dagbox

_EXT_REF = 1
_EXT_ERROR = 2
_MOST_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Body:
    """A message body as far as it could be read.

    Attributes:
        value: the value; the part before the cut, if there is one.
        whole: whether all of it was there.
    """

    value: Any
    whole: bool


class _Cut(Exception):
    """The bytes end here; carries what was read of the value."""

    def __init__(self, partial: Any) -> None:
        super().__init__("cut")
        self.partial = partial


def read_body(data: bytes) -> Body:
    """Read the bytes of a request, reply or record; never raises, whatever they hold.

    Binary values that are MessagePack themselves (the data of records) are read too.
    """
    if not data:
        return Body(None, True)
    try:
        return Body(_open(_Walk(data).value(0)), True)
    except _Cut as cut:
        return Body(_open(cut.partial), False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        return Body(data, True)


def ext_value(code: int, payload: bytes) -> Any:
    """The value of one of DagBox's extension types; the raw extension if it is none."""
    try:
        parts = msgpack.unpackb(payload, strict_map_key=False)
    except (ValueError, msgpack.UnpackException):
        return msgpack.ExtType(code, payload)
    if code == _EXT_REF and isinstance(parts, list) and len(parts) >= 2 and all(isinstance(p, str) for p in parts[:2]):
        version = parts[2] if len(parts) > 2 and isinstance(parts[2], int) else 0
        return dagbox.Ref(parts[0], parts[1], version)
    if code == _EXT_ERROR:
        return dagbox.errors.error_from_wire(parts)
    return msgpack.ExtType(code, payload)


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, ext_hook=ext_value, strict_map_key=False, timestamp=3)


def _open(value: Any, depth: int = 0) -> Any:
    """The value with the record data inside it read as well."""
    if depth > _MOST_DEPTH:
        return value
    if isinstance(value, dict):
        return {key: _opened(each, depth) if key == "data" else _open(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_open(each, depth + 1) for each in value]
    return value


def _opened(value: Any, depth: int) -> Any:
    if not isinstance(value, bytes):
        return _open(value, depth + 1)
    try:
        return _unpack(value)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        return value


class _Walk:
    """Reads a value piece by piece, so that a cut leaves what came before it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._unpacker = msgpack.Unpacker(ext_hook=ext_value, strict_map_key=False, timestamp=3)
        self._unpacker.feed(data)

    def value(self, depth: int) -> Any:
        at = self._unpacker.tell()
        if at >= len(self._data):
            raise _Cut(None)
        first = self._data[at]
        if depth < _MOST_DEPTH and (0x80 <= first <= 0x8F or first in (0xDE, 0xDF)):
            return self._map(depth)
        if depth < _MOST_DEPTH and (0x90 <= first <= 0x9F or first in (0xDC, 0xDD)):
            return self._array(depth)
        try:
            return self._unpacker.unpack()
        except msgpack.OutOfData:
            raise _Cut(None) from None

    def _length(self, read: Any) -> int:
        try:
            return int(read())
        except msgpack.OutOfData:
            raise _Cut(None) from None

    def _map(self, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in range(self._length(self._unpacker.read_map_header)):
            try:
                key = self.value(depth + 1)
                key = key if isinstance(key, str | int | float | bytes | bool | datetime) else str(key)
            except _Cut:
                raise _Cut(found) from None
            try:
                found[key] = self.value(depth + 1)
            except _Cut as cut:
                raise _Cut(found | {key: cut.partial}) from None
        return found

    def _array(self, depth: int) -> list[Any]:
        found: list[Any] = []
        for _ in range(self._length(self._unpacker.read_array_header)):
            try:
                found.append(self.value(depth + 1))
            except _Cut as cut:
                raise _Cut([*found, cut.partial] if cut.partial is not None else found) from None
        return found
