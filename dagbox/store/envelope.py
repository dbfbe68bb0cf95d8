"""The layout of a record in a table: flags, version, checksum, expiry if a flag says so, the data.

    bytes   0       1..8     9..12     13..20 (only with the flag EXPIRES)   the rest
            flags   version  checksum  end of its time, ms since 1970        data

All numbers are unsigned and big endian. The checksum is the CRC-32 of the data, begun with the low half of the
version; reading does not look at it, verifying does. The only flag there is says that the record ends; a record with
any other flag was not written by this version and is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from zlib import crc32

from dagbox.errors import StoreCorrupt
from dagbox.protocol.values import NO_RECORD
from dagbox.store.base import Found, Stored

EXPIRES = 1
"""The flag of a record that ends at a time."""
PLAIN_BYTES = 13
"""Bytes before the data of a record that never ends."""
EXPIRING_BYTES = 21
"""Bytes before the data of a record that ends."""
NUMBER_MAX = (1 << 64) - 1
"""The largest version, token or time that fits."""

_HALF = 0xFFFFFFFF
_plain = Struct(">BQI")
_pack_plain = _plain.pack
open_head = _plain.unpack_from
"""Return flags, version and checksum of a record's bytes. Raises struct.error if they are too few for a record."""
_pack_expiring = Struct(">BQIQ").pack
number_to_bytes = Struct(">Q").pack
"""Return the 8 bytes of a number."""
number_from_bytes: Callable[[bytes], int] = partial(int.from_bytes, byteorder="big")
"""Return the number of its 8 bytes; no bytes give 0."""


def number_of_entry(table: str, data: bytes | None) -> int:
    """Return the number in an entry of one of the store's own tables; 0 if there is none.

    Raises:
        StoreCorrupt: it is not one that DagBox wrote.
    """
    if not data:
        return 0
    if len(data) != 8:
        raise StoreCorrupt(table, f"a number that begins with '{data[:16].hex()}' has {len(data)} bytes instead of 8")
    return number_from_bytes(data)


def seal(version: int, data: bytes, expires_ms: int = 0) -> bytes:
    """The bytes of a record; `expires_ms` 0 is never."""
    if expires_ms:
        return _pack_expiring(EXPIRES, version, crc32(data, version & _HALF), expires_ms) + data
    return _pack_plain(0, version, crc32(data, version & _HALF)) + data


def open_sealed(value: bytes) -> Stored:
    """The record of its bytes.

    Raises:
        StoreCorrupt: the bytes are not those of a record.
    """
    if len(value) >= PLAIN_BYTES:
        version = int.from_bytes(value[1:9], "big")
        if value[0] == 0:
            return Stored(version, value[PLAIN_BYTES:], 0)
        if value[0] == EXPIRES and len(value) >= EXPIRING_BYTES:
            return Stored(version, value[EXPIRING_BYTES:], int.from_bytes(value[PLAIN_BYTES:EXPIRING_BYTES], "big"))
    raise StoreCorrupt("it", f"a value that begins with {value[:PLAIN_BYTES].hex()!r} is not a record")


def checksum_fits(value: bytes, stored: Stored) -> bool:
    """Return True if the data of a record is what was written."""
    return int.from_bytes(value[9:PLAIN_BYTES], "big") == crc32(stored.data, stored.version & _HALF)


def is_intact(value: bytes) -> bool:
    """Return True if the bytes are a record as it was written."""
    try:
        return checksum_fits(value, open_sealed(value))
    except StoreCorrupt:
        return False


def open_damaged(value: bytes) -> Stored:
    """The record of its bytes; of bytes that are not those of a record, one of version 0 whose data are no value.

    So one damaged record is one error of who decodes it, and the records beside it can be read.
    """
    try:
        return open_sealed(value)
    except StoreCorrupt:
        return Stored(0, NO_RECORD, 0)


def found_live(value: bytes, now_ms: int) -> Found | None:
    """Version and data of a record's bytes, as `open_live`."""
    stored = open_live(value, now_ms)
    return None if stored is None else (stored.version, stored.data)


def open_live(value: bytes | None, now_ms: int) -> Stored | None:
    """The record of its bytes, as `open_damaged`; None if there are none or its time is over."""
    if value is None:
        return None
    stored = open_damaged(value)
    return None if 0 < stored.expires_ms <= now_ms else stored
