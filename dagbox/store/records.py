"""The operations on records: put, delete, check, fence, grant. Each looks first and writes only if it will be done."""

from __future__ import annotations

from hashlib import blake2b

from dagbox.errors import BadBucket, Conflict, Fenced, InvalidArgument, UnreadableRecord
from dagbox.protocol.values import MAX_BUCKET_BYTES, MAX_KEY_BYTES, check_key
from dagbox.store.base import Check, Delete, Fence, Grant, Put, Stored
from dagbox.store.envelope import (
    NUMBER_MAX,
    number_of_entry,
    number_to_bytes,
    open_damaged,
    open_live,
    seal,
)
from dagbox.store.facts.transaction import follow_record
from dagbox.store.tables import EXPIRY, FENCES, OWN_TABLES
from dagbox.store.transaction import Transaction

_PLAIN = b"\0"
"""The flags of a record that never ends."""


def put(tx: Transaction, operation: Put) -> list[str | int]:
    """Write a record; `[key, version]`."""
    bucket, key, data, ttl_ms = operation.bucket, operation.key, operation.data, operation.ttl_ms
    if key is None:
        key = tx.new_key()
    if bucket not in tx.tables_seen:
        tx.tables_seen.add(check_table(bucket))
    place = key.encode() if type(key) is str and key.isascii() and 0 < len(key) <= MAX_KEY_BYTES else _key_bytes(key)
    if type(data) is not bytes:
        data = _as_bytes(data)
    if operation.if_version is not None:
        _demand(tx, bucket, key, tx.get(bucket, place), operation.if_version)
    if ttl_ms is None:
        value = seal(tx.version, data)
    else:
        expires_ms = tx.now_ms + _number("ttl_ms", ttl_ms, 1)
        if expires_ms > NUMBER_MAX:
            raise InvalidArgument(f"a time to live of {ttl_ms} ms is too long: leave it out for ever")
        value = seal(tx.version, data, expires_ms)
    old = tx.replace(bucket, place, value)
    if old is not None and old[:1] != _PLAIN:
        _drop_from_index(tx, bucket, place, open_damaged(old))
    if tx.derivations and (declared := tx.derivations.get(bucket)):
        follow_record(tx, declared, place, old, data)
    if ttl_ms is not None:
        tx.put(EXPIRY, index_key(bucket, place, tx.version, expires_ms), bucket.encode() + b"\0" + place)
    return [key, tx.version]


def delete(tx: Transaction, operation: Delete) -> bool:
    """Remove a record; whether there was one."""
    bucket, key = operation.bucket, operation.key
    place = _place(tx, bucket, key)
    old = tx.get(bucket, place)
    if operation.if_version is not None:
        _demand(tx, bucket, key, old, operation.if_version)
    if old is None:
        return False
    tx.set(bucket, place, None, old)
    if tx.derivations and (declared := tx.derivations.get(bucket)):
        follow_record(tx, declared, place, old, None)
    if old[:1] == _PLAIN:
        return True
    stored = open_damaged(old)
    _drop_from_index(tx, bucket, place, stored)
    return not 0 < stored.expires_ms <= tx.now_ms


def check(tx: Transaction, operation: Check) -> None:
    """Go on only if the record is at a version."""
    place = _place(tx, operation.bucket, operation.key)
    _demand(tx, operation.bucket, operation.key, tx.get(operation.bucket, place), operation.version)


def fence(tx: Transaction, operation: Fence) -> None:
    """Go on only if the token is the last one that was granted; a write cannot raise it."""
    token = _number("token", operation.token, 0)
    old = tx.get(FENCES, _key_bytes(operation.key))
    highest = number_of_entry(FENCES, old)
    if token != highest:
        raise Fenced(operation.key, token, highest)


def grant(tx: Transaction, operation: Grant) -> None:
    """Go on only if no higher token was granted, and remember this one."""
    token = _number("token", operation.token, 0)
    place = _key_bytes(operation.key)
    old = tx.get(FENCES, place)
    highest = number_of_entry(FENCES, old)
    if token < highest:
        raise Fenced(operation.key, token, highest)
    if old is None or token > highest:
        tx.set(FENCES, place, number_to_bytes(token), old)


def index_key(bucket: str, place: bytes, version: int, expires_ms: int) -> bytes:
    """Return where the expiry index has a record: time, version, and a digest of its place (one batch writes many)."""
    digest = blake2b(bucket.encode() + b"\0" + place, digest_size=8).digest()
    return number_to_bytes(expires_ms) + number_to_bytes(version) + digest


def _drop_from_index(tx: Transaction, bucket: str, place: bytes, stored: Stored) -> None:
    if stored.version:
        tx.delete(EXPIRY, index_key(bucket, place, stored.version, stored.expires_ms))
        return
    # What was there is damaged, its time with it: its entry would take away what is written in its place.
    name = bucket.encode() + b"\0" + place
    for entry in [entry for entry, indexed in tx.scan(EXPIRY) if indexed == name]:
        tx.delete(EXPIRY, entry)


def _demand(tx: Transaction, bucket: str, key: str, value: bytes | None, version: int) -> None:
    _number("version", version, 0)
    stored = open_live(value, tx.now_ms)
    if stored is not None and not stored.version:
        raise UnreadableRecord(bucket, key, "what is stored there is not a record")
    current = stored.version if stored is not None else 0
    if current != version:
        raise Conflict(bucket, key, version, current)


def _place(tx: Transaction, bucket: str, key: str) -> bytes:
    """Return the bytes of a key, once bucket and key were checked."""
    if bucket not in tx.tables_seen:
        tx.tables_seen.add(check_table(bucket))
    return _key_bytes(key)


def _key_bytes(key: str) -> bytes:
    """Return the bytes of a key. Raises BadKey if it is none."""
    try:
        place = key.encode()
        if 0 < len(place) <= MAX_KEY_BYTES and type(key) is str:
            return place
    except (AttributeError, UnicodeEncodeError):
        pass
    return check_key(key).encode()


def check_table(bucket: object) -> str:
    """The bucket's name if the store can keep it: a name of users, or one of the services' own.

    Raises:
        BadBucket: it is not text, empty, too long, holds a null character, or is a table of the store itself.
    """
    if not isinstance(bucket, str):
        raise BadBucket(bucket, f"a bucket name is text, not {type(bucket).__name__}")
    if not bucket:
        raise BadBucket(bucket, "a bucket name has at least one character")
    if bucket in OWN_TABLES:
        raise BadBucket(bucket, "the store keeps its own records there")
    if "\0" in bucket:
        raise BadBucket(bucket, "a bucket name has no null character")
    try:
        size = len(bucket.encode())
    except UnicodeEncodeError:
        raise BadBucket(bucket, "a bucket name is valid Unicode") from None
    if size > MAX_BUCKET_BYTES:
        raise BadBucket(bucket, f"it has {size} bytes, the most allowed is {MAX_BUCKET_BYTES}")
    return bucket


def _as_bytes(data: object) -> bytes:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise InvalidArgument(f"the data of a record is bytes, not {type(data).__name__}")


def _number(name: str, value: object, least: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= NUMBER_MAX:
        return value
    raise InvalidArgument(f"{name} is a whole number of at least {least} that fits into 64 bits, not {value!r}")
