"""Commands on records: get, put, del, scan, ls, buckets, peek."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgpack

import dagbox
from dagbox.notation.json import is_list, load, write, write_cell
from dagbox.notation.problems import SyntaxProblem
from dagbox.notation.scanner import quote
from dagbox.shell.grammar.parsed import FileValue, Prefix, ReadRequest, RecordTarget
from dagbox.shell.problems import CommandFailed
from dagbox.shell.results import Detail, Nodes, Outcome, Phrase, Rows
from dagbox.shell.session import Pending, Shell
from dagbox.text.amounts import plural
from dagbox.text.limits import first_of
from dagbox.text.terminal import truncate

DELETED_TOGETHER = 1000
"""The records that `del-prefix` deletes in one commit."""
MAX_FILE_BYTES = 256 * 1024 * 1024
"""The largest file that `put` reads."""


def get(shell: Shell, refs: list[dagbox.Ref | ReadRequest], relations: Mapping[str, Any] | None) -> Nodes:
    """Read records, each with the relations."""
    unseen = _unseen(shell)
    if len(refs) == 1 and not relations and isinstance(refs[0], dagbox.Ref):
        try:
            result = Nodes([shell.db.get_record(refs[0])])
        except dagbox.NotFound as error:
            if not unseen:
                raise
            raise CommandFailed(f"{error}, {unseen}") from None
    else:
        result = Nodes([])
        result.items = _found(_read(shell, refs, dict(relations or {}), result.unreadable), unseen)
    if unseen:
        result.notes.append(unseen)
    return result


def _unseen(shell: Shell) -> str:
    """Return what a read of records says of an open batch, which it does not see."""
    return f"without the {plural(len(shell.batch), 'write')} of the open batch: commit does them" if shell.batch else ""


def _read(
    shell: Shell,
    refs: list[dagbox.Ref | ReadRequest],
    relations: dict[str, Any],
    unreadable: list[dagbox.UnreadableRecord],
) -> Iterator[dagbox.Node]:
    if relations or any(isinstance(ref, ReadRequest) for ref in refs):
        for ref in refs:
            target, own = (ref.ref, ref.relations) if isinstance(ref, ReadRequest) else (ref, {})
            node = shell.db.fetch(target, relations={**own, **relations}, skip=unreadable.append)
            if node.error is None:
                yield node
        return
    targets = [ref for ref in refs if isinstance(ref, dagbox.Ref)]
    records = shell.db.get_many(targets, skip=unreadable.append)
    left_out = {(error.bucket, error.key) for error in unreadable}
    for ref, record in zip(targets, records, strict=True):
        if (ref.bucket, ref.key) in left_out:
            continue
        if record is None:
            yield dagbox.Node(ref.bucket, ref.key, False, 0, None)
        else:
            yield dagbox.Node(ref.bucket, ref.key, True, record.version, record.data)


def _found(nodes: Iterable[dagbox.Node], unseen: str) -> Iterator[dagbox.Node]:
    """All nodes; fails at the end if a record that was asked for is not there."""
    missing = []
    for node in nodes:
        if not node.found:
            missing.append(f"{node.bucket}/{node.key}")
        yield node
    if missing:
        raise CommandFailed(", ".join(filter(None, (f"no record {', '.join(missing)}", unseen))))


def put(
    shell: Shell,
    target: RecordTarget,
    value: Any,
    new: bool,
    if_version: int | None,
    ttl: float | None,
    fence: str | None,
) -> Outcome | None:
    """Write a record, or collect it in the batch."""
    if value is None:
        from dagbox.shell.handlers.edit import edit

        if new or if_version is not None or ttl is not None:
            raise CommandFailed("the value is missing: write JSON or @./FILE after the key")
        return edit(shell, target, fence)
    data = read_file(value) if isinstance(value, FileValue) else value
    version = 0 if new else if_version
    lease = shell.fence_of(target.bucket, target.key, fence)

    def collect(batch: Any) -> Any:
        return batch.put(target.bucket, data, key=target.key, ttl=ttl, if_version=version)

    name = quote(f"{target.bucket}/{target.key or ''}")
    replaces = dagbox.Ref(target.bucket, target.key) if target.key and version is None else None
    collected = shell.collect(Pending(f"put {name} {truncate(write(data), 60)}", collect, lease, replaces=replaces))
    if collected is not None:
        return collected
    ref = shell.db.put(target.bucket, data, key=target.key, ttl=ttl, if_version=version, fence=lease)
    return Outcome.written(ref)


def read_file(value: FileValue) -> Any:
    """The JSON value that a file holds.

    Raises:
        CommandFailed: it cannot be read, or holds no JSON; names the line.
    """
    path = value.path
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CommandFailed(f"{path} is larger than {MAX_FILE_BYTES:,} bytes: use import")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{path} is not text in UTF-8") from None
    try:
        return load(text)
    except SyntaxProblem as problem:
        line = text.count("\n", 0, problem.start) + 1
        column = problem.start - text.rfind("\n", 0, problem.start)
        raise CommandFailed(f"{path}, line {line}, column {column}: {problem.message}") from None


def delete(
    shell: Shell, refs: list[dagbox.Ref | ReadRequest], if_version: int | None, fence: str | None
) -> Rows | Outcome:
    """Delete records, together if there are several."""
    targets = _plain_refs(refs)
    if if_version is not None and len(targets) > 1:
        raise CommandFailed("--if-version goes with one record")
    leases = [shell.fence_of(ref.bucket, ref.key, fence) for ref in targets]
    if shell.batch is not None:
        for ref, lease in zip(targets, leases, strict=True):
            shell.collect(_pending_delete(ref, if_version, lease))
        document = {"batched": [str(ref) for ref in targets], "position": len(shell.batch)}
        return Outcome(f"in the batch ({len(shell.batch)}): del {' '.join(map(str, targets))}", document)
    with shell.db.batch(fence=_distinct(leases)) as batch:
        futures = [batch.delete(ref, if_version=if_version) for ref in targets]
    rows = [{"record": str(ref), "deleted": future.result()} for ref, future in zip(targets, futures, strict=True)]
    if len(rows) == 1:
        text = f"deleted {targets[0]}" if rows[0]["deleted"] else f"there was no {targets[0]}"
        return Outcome(text, {"bucket": targets[0].bucket, "key": targets[0].key, "deleted": rows[0]["deleted"]})
    return Rows(("record", "deleted"), rows, "record")


def _pending_delete(ref: dagbox.Ref, if_version: int | None, lease: Any) -> Pending:
    return Pending(
        f"del {quote(str(ref))}", lambda batch: batch.delete(ref, if_version=if_version), lease, destroys=True
    )


def _distinct(leases: Iterable[Any]) -> list[Any] | None:
    """The leases there are, each once; None if there are none."""
    return list({id(lease): lease for lease in leases if lease is not None}.values()) or None


def danger_of_delete(
    shell: Shell, refs: list[dagbox.Ref | ReadRequest], if_version: int | None, fence: str | None
) -> str | None:
    """Return what `del` would delete; nothing is asked for what a batch collects, `commit` asks."""
    if shell.batch is not None:
        return None
    targets = _plain_refs(refs)
    unreadable: list[dagbox.UnreadableRecord] = []
    records = shell.db.get_many(targets[:1000], skip=unreadable.append)
    there = [(str(record.ref), f"version {record.version}") for record in records if record is not None]
    there += [(f"{error.bucket}/{error.key}", "which cannot be read") for error in unreadable]
    if not there and len(targets) <= 1000:
        return None
    if len(targets) == 1:
        return f"delete {', '.join(there[0])}"
    names = ", ".join(name for name, _ in there[:5]) + (", ..." if len(there) > 5 else "")
    return f"delete {plural(len(there) if len(targets) <= 1000 else len(targets), 'record')}: {names}"


def delete_prefix(shell: Shell, prefix: Prefix) -> Outcome:
    """Delete the records whose keys begin with a prefix, some at a time."""
    deleted = 0
    try:
        keys = (record.key for record in shell.db.scan(prefix.bucket, prefix=prefix.prefix, keys_only=True))
        while some := list(islice(keys, DELETED_TOGETHER)):
            with shell.db.batch() as batch:
                futures = [batch.delete(dagbox.Ref(prefix.bucket, key)) for key in some]
            deleted += sum(1 for future in futures if future.result())
    except (KeyboardInterrupt, dagbox.DagBoxError):
        shell.output.say(f"{plural(deleted, 'record')} had been deleted", "missing")
        raise
    place = f"{prefix.bucket}/{prefix.prefix}"
    document = {"bucket": prefix.bucket, "prefix": prefix.prefix, "deleted": deleted}
    return Outcome(f"deleted {plural(deleted, 'record')} of {place}", document)


def danger_of_delete_prefix(shell: Shell, prefix: Prefix) -> str | None:
    """Return how many records would be deleted, and the first and last of them."""
    if shell.batch is not None:
        raise CommandFailed("del-prefix cannot be part of a batch: commit or abort it first")
    first, last, count = "", "", 0
    for record in shell.db.scan(prefix.bucket, prefix=prefix.prefix, keys_only=True):
        first, last, count = first or record.key, record.key, count + 1
    if not count:
        return None
    span = first if count == 1 else f"{first} to {last}"
    return f"delete {plural(count, 'record')} of {prefix.bucket}: {truncate(span, 120)}"


def _plain_refs(refs: list[dagbox.Ref | ReadRequest]) -> list[dagbox.Ref]:
    if any(isinstance(ref, ReadRequest) for ref in refs):
        raise CommandFailed("name records as bucket/key here")
    return [ref for ref in refs if isinstance(ref, dagbox.Ref)]


def scan(
    shell: Shell,
    prefix: Prefix,
    limit: int | None,
    start: str | None,
    stop: str | None,
    reverse: bool,
    fields: list[str] | None,
) -> Nodes:
    """Records in the order of their keys, as they come."""
    result = Nodes([], table=True, fields=tuple(fields or ()))
    records = shell.db.scan(
        prefix.bucket,
        skip=result.unreadable.append,
        prefix=prefix.prefix,
        start=start,
        stop=stop,
        limit=None if limit is None else limit + 1,
        reverse=reverse,
    )
    result.items = _within(records, limit, result)
    if unseen := _unseen(shell):
        result.notes.append(unseen)
    return result


def _within(records: Iterable[dagbox.Record], limit: int | None, result: Nodes) -> Iterator[dagbox.Record]:
    """Yield the records of a scan of one more than the limit; those that cannot be read count too, as they come."""
    last = -1
    for last, record in enumerate(records):
        if last + len(result.unreadable) == limit:
            break
        yield record
    else:
        if limit is None or last + 1 + len(result.unreadable) <= limit:
            return
        result.unreadable.pop()
    result.notes.append(f"there are more: these are the first {limit:,}")


def list_keys(shell: Shell, prefix: Prefix | None, limit: int | None) -> Rows:
    """The buckets, or the keys of one."""
    if prefix is None and shell.bucket is None:
        result = buckets(shell)
        result.rows = first_of(result.rows, limit, result.notes.append)
        return result
    place = prefix or Prefix(shell.bucket or "", "")
    result = Rows(("key", "version"), [], "key", raw="key")
    records = shell.db.scan(
        place.bucket, prefix=place.prefix, limit=None if limit is None else limit + 1, keys_only=True
    )
    result.rows = (
        {"bucket": record.bucket, "key": record.key, "version": record.version}
        for record in first_of(records, limit, result.notes.append)
    )
    if place.prefix and place.bucket == shell.bucket and place.prefix in shell.db.buckets():
        result.notes.append(f"{place.prefix} is a bucket too: ls {quote(place.prefix + '/')}")
    return result


def buckets(shell: Shell) -> Rows:
    """Buckets and how many records each has."""
    rows = [{"bucket": name, "records": count} for name, count in sorted(shell.db.buckets().items())]
    return Rows(("bucket", "records"), rows, "bucket", raw="bucket")


def peek(shell: Shell, ref: dagbox.Ref | ReadRequest) -> Detail:
    """Return what a record is, without its data."""
    (target,) = _plain_refs([ref])
    try:
        record = shell.db.get_record(target)
    except dagbox.NotFound as error:
        if unseen := _unseen(shell):
            raise CommandFailed(f"{error}, {unseen}") from None
        raise
    data = record.data
    parts: dict[str, Any] = {
        "version": record.version,
        "size_bytes": packed_size(data),
        "type": Phrase(type_name(data)),
    }
    if isinstance(data, Mapping):
        parts["fields"] = {write_cell(name): Phrase(describe(value)) for name, value in islice(data.items(), 1000)}
    elif isinstance(data, list):
        parts["elements"] = len(data)
    refs = sorted({str(found) for found in refs_in(data)})
    parts["refs"] = refs
    title = str(target)
    return Detail(title, parts, {"bucket": target.bucket, "key": target.key, **parts})


def packed_size(value: Any) -> int:
    """Return how many bytes a value takes in the store."""

    def other(item: Any) -> Any:
        if isinstance(item, dagbox.Ref):
            return msgpack.ExtType(1, msgpack.packb([item.bucket, item.key, *([item.version] if item.version else [])]))
        return repr(item)

    return len(msgpack.packb(value, default=other, datetime=True))


_TYPES = ((bool, "boolean"), (str, "text"), (int, "integer"), (float, "number"), (bytes, "bytes"), (list, "list"))


def type_name(value: Any) -> str:
    """The type of a value in a word."""
    if value is None:
        return "null"
    if isinstance(value, dagbox.Ref):
        return "ref"
    if isinstance(value, Mapping):
        return "map"
    return next((name for kind, name in _TYPES if isinstance(value, kind)), type(value).__name__)


def describe(value: Any) -> str:
    """The type of a value, with its size or target."""
    name = type_name(value)
    if isinstance(value, dagbox.Ref):
        return f"ref to {value}"
    if isinstance(value, str):
        return f"text of {plural(len(value), 'character')}"
    if isinstance(value, bytes):
        return f"{plural(len(value), 'byte')}"
    if isinstance(value, list):
        kinds = sorted({type_name(item) for item in value})
        return f"list of {plural(len(value), 'element')}" + (f": {', '.join(kinds)}" if kinds else "")
    if isinstance(value, Mapping):
        return f"map of {plural(len(value), 'field')}"
    return name


def refs_in(value: Any) -> Iterator[dagbox.Ref]:
    """Every ref anywhere in a value."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dagbox.Ref):
            yield item
        elif isinstance(item, Mapping):
            waiting.extend(item.values())
        elif is_list(item):
            waiting.extend(item)
