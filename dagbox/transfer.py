"""Import and export: a database as JSON Lines.

Each line is one of:

    {"bucket": "user", "key": "ada", "data": ..., "version": 7, "expires": "2026-01-31T12:00:00+00:00"}
    {"fact": ["depends", "a", "b"]}
    {"rule": "needs(X, Y) :- depends(X, Y)."}

`data` and the arguments of facts are JSON, with the forms of `dagbox.notation.json` for values that JSON cannot
express: {"$ref": "post/p1"}, {"$bytes": "aGk="}, {"$time": "2026-01-31T12:00:00+00:00"}, {"$float": "nan"}, {"$map":
[[1, "one"]]}, {"$ext": [5, "aGk="]}. `version` is that of the exported store; the importing store assigns its own. A
record whose `expires` has passed is skipped.

Lines are imported in batches: each is written whole or not at all, and an invalid line keeps its batch from being
written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dagbox.errors import (
    BadLine,
    DagBoxError,
    InvalidArgument,
    LimitExceeded,
    LogicError,
    NoService,
    UnknownBucket,
    UnreadableRecord,
)
from dagbox.protocol.values import check_bucket, check_key, pack_data

if TYPE_CHECKING:
    from dagbox.client import Database
    from dagbox.client._sync.blocks import Batch
    from dagbox.store.base import Snapshot

_FACTS_AT_ONCE = 1000
BATCH_LINES = 1_000
"""Lines in one batch."""
BATCH_BYTES = 8 * 1024 * 1024
"""Bytes of lines after which a batch ends, so that large records do not exceed the limit of a message."""

MAX_TTL_S = 100 * 365 * 86_400.0
"""The longest that an imported record may live, in seconds."""

Line = dict[str, Any]


# --- export


def exported_line(
    bucket: str, key: str, data: Any, *, version: int | None = None, expires_ms: int | None = None
) -> str:
    """Return a record as a line, without the line break. `expires_ms` counts from 1970; 0 and None mean never.

    Raises:
        UnreadableRecord: it is nested too deep for JSON.
    """
    line: Line = {"bucket": bucket, "key": key, "data": data}
    if version is not None:
        line["version"] = version
    if expires_ms:
        line["expires"] = datetime.fromtimestamp(expires_ms / 1000, UTC).isoformat()
    try:
        return _text(line)
    except RecursionError:
        raise UnreadableRecord(bucket, key, "it is nested too deep for JSON") from None


def _text(line: Line) -> str:
    from dagbox.notation.json import to_plain

    plain = {name: to_plain(value) if name in ("data", "fact") else value for name, value in line.items()}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _raise(error: UnreadableRecord) -> None:
    raise error


def export_snapshot(
    snapshot: Snapshot,
    buckets: Iterable[str] | None,
    *,
    versions: bool,
    skip: Callable[[UnreadableRecord], None] = _raise,
) -> Iterator[str]:
    """Yield the lines of the records of a snapshot, with their expiry.

    Args:
        buckets: the buckets to export; None for all.
        versions: include the versions.
        skip: called with the error of each record that cannot be read, and is left out; by default it is raised.

    Raises:
        UnknownBucket: there is no bucket of that name.
    """
    from dagbox.client.operations import decode

    known = snapshot.buckets()
    for bucket in _chosen(known, buckets):
        for key, stored in snapshot.scan(bucket):
            version = stored.version if versions else None
            try:
                data = decode(bucket, key, stored.data)
                line = exported_line(bucket, key, data, version=version, expires_ms=stored.expires_ms)
            except UnreadableRecord as error:
                skip(error)
            else:
                yield line


def export_database(
    db: Database,
    buckets: Iterable[str] | None,
    *,
    versions: bool,
    skip: Callable[[UnreadableRecord], None] = _raise,
) -> Iterator[str]:
    """Yield the lines of the records of a node, without expiry. They are read page by page, each from its own snapshot.

    Args, Raises: as `export_snapshot`.
    """
    for bucket in _chosen(db.buckets(), buckets):
        for record in db.scan(bucket, skip=skip):
            try:
                line = exported_line(bucket, record.key, record.data, version=record.version if versions else None)
            except UnreadableRecord as error:
                skip(error)
            else:
                yield line


def export_logic(db: Database) -> Iterator[str]:
    """Yield the lines of rules and facts; none if there is no logic service."""
    try:
        for rule in db.rules():
            yield _text({"rule": rule.text})
        for fact in db.facts(derived=False):
            yield _text({"fact": [fact.predicate, *fact.args]})
    except NoService:
        return


def export_logic_of_snapshot(snapshot: Snapshot) -> Iterator[str]:
    """Yield the lines of the rules and facts of a snapshot: those of the same moment as its records."""
    from dagbox.store.facts.page import facts_page
    from dagbox.store.facts.rules import stored_rules

    for rule in stored_rules(snapshot.tables):
        yield _text({"rule": rule.text})
    page = facts_page(snapshot, None, _FACTS_AT_ONCE, derived=False)
    while True:
        for predicate, args in page.facts:
            yield _text({"fact": [predicate, *args]})
        if not page.more:
            return
        page = facts_page(snapshot, None, _FACTS_AT_ONCE, after=page.after, derived=False)


def _chosen(known: dict[str, int], buckets: Iterable[str] | None) -> list[str]:
    if buckets is None:
        return sorted(known)
    chosen = list(dict.fromkeys(buckets))
    for bucket in chosen:
        if bucket not in known:
            raise UnknownBucket(bucket, sorted(known)[:20])
    return chosen


# --- import


@dataclass(slots=True)
class Imported:
    """The outcome of an import.

    Attributes:
        records, facts, rules: the numbers that were written.
        expired: the number of records that were skipped because they had expired.
        lines: the number of lines that were read.
        broken: the errors of lines that were skipped (`keep_going`).
    """

    records: int = 0
    facts: int = 0
    rules: int = 0
    expired: int = 0
    lines: int = 0
    broken: list[BadLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Form:
    """The form of the lines.

    Args:
        bucket: None for lines as `export` writes them; else every line is the data of a record of this bucket.
        key: the field of the data that is the record's key; None to create keys.
    """

    bucket: str | None = None
    key: str | None = None


def import_lines(
    db: Database,
    lines: Iterable[bytes],
    *,
    form: Form | None = None,
    keep_going: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    progress: Callable[[int], None] = lambda size: None,
) -> Imported:
    """Import lines in batches.

    Args:
        lines: UTF-8 text, with or without line breaks; empty lines are ignored.
        keep_going: skip invalid lines, and write the others of their batch.
        now: the time that `expires` is compared with.
        progress: called with the bytes of each batch that was written.

    Raises:
        BadLine: a line is invalid: nothing of its batch was written, all batches before it were.
        DagBoxError: a batch could not be written; the batches before it were.
    """
    done = Imported()
    reader = _Reader(form or Form(), now)
    pending: list[tuple[int, _Write]] = []
    size, first = 0, 1
    for number, raw in enumerate(lines, 1):
        done.lines = number
        size += len(raw)
        try:
            write = reader.read(raw, number)
        except BadLine as error:
            if not keep_going:
                raise
            done.broken.append(error)
            continue
        if write is _EXPIRED:
            done.expired += 1
        elif write is not None:
            pending.append((number, write))
        if number % BATCH_LINES == 0 or size >= BATCH_BYTES:
            _write(db, pending, done, first, keep_going)
            progress(size)
            pending, size, first = [], 0, number + 1
    _write(db, pending, done, first, keep_going)
    progress(size)
    return done


@dataclass(frozen=True, slots=True)
class _Write:
    """One validated line: a write for a batch."""

    kind: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def add_to(self, batch: Batch) -> None:
        write: Callable[..., Any] = getattr(batch, self.kind)
        write(*self.arguments, **self.options)


_EXPIRED = _Write("expired")


def _write(db: Database, pending: list[tuple[int, _Write]], done: Imported, first: int, keep_going: bool) -> None:
    """Write a batch; if it is refused and that is not the end, by halves, down to the lines that are refused."""
    if not pending:
        return
    lines = ""
    try:
        with db.batch() as batch:
            for number, write in pending:
                lines = f"line {number}"
                write.add_to(batch)
            lines = f"lines {first} to {done.lines}"
    except (InvalidArgument, LimitExceeded, LogicError) as error:
        if keep_going and len(pending) == 1:
            done.broken.append(BadLine(pending[0][0], error.message))
            return
        if keep_going:
            half = len(pending) // 2
            _write(db, pending[:half], done, first, keep_going)
            _write(db, pending[half:], done, first, keep_going)
            return
        error.message = f"{lines}: {error.message}"
        raise
    kinds = [write.kind for _, write in pending]
    done.records += kinds.count("put")
    done.facts += kinds.count("assert_fact")
    done.rules += kinds.count("add_rule")


class _Reader:
    """Parses lines to writes."""

    def __init__(self, form: Form, now: Callable[[], datetime]) -> None:
        from dagbox.notation.json import unique_members

        self._form = form
        self._now = now
        self._members = unique_members

    def read(self, raw: bytes, number: int) -> _Write | None:
        """Return the write of a line; None for an empty one. Raises BadLine."""
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if not text:
                return None
            value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=self._members)
            return self._bare(value) if self._form.bucket is not None else self._line(value)
        except UnicodeDecodeError as error:
            raise BadLine(number, f"it is not UTF-8 (byte {error.start + 1})") from None
        except json.JSONDecodeError as error:
            raise BadLine(number, f"it is not JSON (column {error.colno}: {error.msg})") from None
        except RecursionError:
            raise BadLine(number, "it is nested too deep") from None
        except DagBoxError as error:
            raise BadLine(number, error.message) from None
        except ValueError as error:
            raise BadLine(number, str(error)) from None

    def _bare(self, value: Any) -> _Write:
        data = _value_of(value)
        options: dict[str, Any] = {}
        if self._form.key is not None:
            key = data.get(self._form.key) if isinstance(data, dict) else None
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise ValueError(f"it has no field {self._form.key!r} with a text or a whole number for the key")
            options["key"] = check_key(str(key))
        return _Write("put", (self._form.bucket, data), options)

    def _line(self, value: Any) -> _Write:
        if not isinstance(value, dict):
            raise ValueError("it is not an object")
        if "fact" in value:
            _only(value, ("fact",))
            return _Write("assert_fact", _fact(value["fact"]))
        if "rule" in value:
            _only(value, ("rule",))
            if not isinstance(value["rule"], str) or not value["rule"]:
                raise ValueError("its rule is not a text")
            return _Write("add_rule", (value["rule"],))
        _only(value, ("bucket", "key", "data", "version", "expires"))
        for name in ("bucket", "key", "data"):
            if name not in value:
                raise ValueError(f'it has no "{name}": a record is {{"bucket": ..., "key": ..., "data": ...}}')
        options: dict[str, Any] = {"key": check_key(value["key"])}
        bucket, data = check_bucket(value["bucket"]), _value_of(value["data"])
        if value.get("expires") is not None:
            left = (_time(value["expires"]) - self._now()).total_seconds()
            if left <= 0:
                return _EXPIRED
            if left > MAX_TTL_S:
                raise ValueError(f"its expires is more than a hundred years away: {value['expires']}")
            options["ttl"] = max(left, 0.001)
        return _Write("put", (bucket, data), options)


def _value_of(plain: Any) -> Any:
    from dagbox.notation.json import from_plain

    data = from_plain(plain)
    pack_data(data)  # what cannot be stored, such as a number beyond 64 bits, is an error of its line
    return data


def _fact(value: Any) -> tuple[Any, ...]:
    from dagbox.notation.json import from_plain

    fact = from_plain(value)
    good = isinstance(fact, list) and bool(fact) and isinstance(fact[0], str)
    if not good or any(not isinstance(item, str | int | float | datetime) for item in fact[1:]):
        raise ValueError("its fact is not a list of a predicate and its arguments: text, numbers, booleans and times")
    if any(isinstance(item, float) and not math.isfinite(item) for item in fact[1:]):
        raise ValueError("its fact has a number that is not finite")
    return tuple(fact)


def _time(value: Any) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"its expires is not a time such as 2026-01-31T12:00:00+00:00: {value!r:.60}") from None
    if time.tzinfo is None:
        raise ValueError(f"its expires has no time zone: {value}")
    return time


def _only(value: Line, allowed: tuple[str, ...]) -> None:
    for name in value:
        if name not in allowed:
            raise ValueError(f"it has a field {name!r:.60}; there may be {', '.join(allowed)}")


def _refuse_constant(name: str) -> float:
    raise InvalidArgument(f'{name} is not JSON: write {{"$float": "{name.lower().replace("infinity", "inf")}"}}')
