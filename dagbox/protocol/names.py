"""Names of peers and requests for people.

Who knows a whole routing id can connect under it and is given its owner's answers. So nothing that people or other
clients see has more than the first half of one, and nothing compares what they say with the other half.
"""

from __future__ import annotations

from hashlib import blake2b

_SHOWN_BYTES = 4


def shown_peer(peer: bytes) -> str:
    """Return the name of a client or worker: the first half of its routing id, in hexadecimal."""
    return peer[:_SHOWN_BYTES].hex()


def shown_request(key: bytes) -> str:
    """Return the name of a request (client id + request id): its client's, then its number."""
    return f"{shown_peer(key)}-{int.from_bytes(key[8:], 'big'):x}"


def unique_request(key: bytes) -> str:
    """Return a text that no other request has, and that begins with the name of this one."""
    return f"{shown_request(key)}-{blake2b(key, digest_size=8).hexdigest()}"
