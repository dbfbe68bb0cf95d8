"""How a record lies in a table: one byte of flags, 8 bytes of version, 8 bytes of expiry if a flag says so, the data.

All numbers are unsigned and big endian. The only flag there is says that the record expires; a record with any
other flag was not written by this version and is refused.
"""

from __future__ import annotations

from struct import Struct

from dagbox.errors import StoreCorrupt
from dagbox.store.base import Stored

EXPIRES = 1
"""The flag of a record that ends at a time."""
PLAIN_BYTES = 9
"""How many bytes stand before the data of a record that never ends."""
EXPIRING_BYTES = 17
"""How many bytes stand before the data of a record that ends."""
NUMBER_MAX = (1 << 64) - 1
"""The largest version, token or time that fits."""

_PLAIN = Struct(">BQ")
_EXPIRING = Struct(">BQQ")
_NUMBER = Struct(">Q")

pack_plain = _PLAIN.pack
number_to_bytes = _NUMBER.pack


def number_from_bytes(value: bytes) -> int:
    """The number of its 8 bytes; a shorter or longer value gives the number it spells."""
    return int.from_bytes(value, "big")


def seal(version: int, data: bytes, expires_ms: int = 0) -> bytes:
    """The bytes of a record; `expires_ms` 0 is never."""
    if expires_ms:
        return _EXPIRING.pack(EXPIRES, version, expires_ms) + data
    return pack_plain(0, version) + data


def open_sealed(value: bytes) -> Stored:
    """The record of its bytes.

    Raises:
        StoreCorrupt: the bytes are not those of a record.
    """
    if len(value) >= PLAIN_BYTES:
        if value[0] == 0:
            return Stored(int.from_bytes(value[1:9], "big"), value[9:], 0)
        if value[0] == EXPIRES and len(value) >= EXPIRING_BYTES:
            _, version, expires_ms = _EXPIRING.unpack_from(value)
            return Stored(version, value[17:], expires_ms)
    raise StoreCorrupt("it", f"a value that begins with {value[:PLAIN_BYTES].hex()!r} is not a record")


def open_live(value: bytes | None, now_ms: int) -> Stored | None:
    """The record of its bytes, or None if there are none or its time is over."""
    if value is None:
        return None
    stored = open_sealed(value)
    return None if 0 < stored.expires_ms <= now_ms else stored
