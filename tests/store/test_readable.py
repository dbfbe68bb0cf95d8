"""What `put` accepts can be read, listed, exported and imported, and a record that cannot be read is one error."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dagbox
import dagbox.aio
from dagbox.errors import InvalidArgument, NotFound, UnreadableRecord
from dagbox.notation.json import dump, load, write
from dagbox.protocol.values import MAX_KEY_BYTES, pack, pack_data, unpack_data
from dagbox.shell.grammar.parse import parse
from dagbox.store.base import Batch, Put
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import restore, verify
from dagbox.transfer import export_database, export_logic_of_snapshot, export_snapshot, import_lines

ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
NAMES = st.text(min_size=1).filter(lambda name: "/" not in name)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary()
    | st.builds(dagbox.Ref, NAMES, st.text(min_size=1), st.integers(0, 2**40))
    | st.datetimes(timezones=ZONES)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=5))
    | st.builds(
        msgpack.ExtType, st.just(1), st.lists(st.text(max_size=2) | st.integers(-1, 2**40), max_size=3).map(pack)
    )
    | st.builds(msgpack.ExtType, st.just(2), st.just(pack({"code": "not_found", "message": "m", "fields": {}})))
    | st.builds(msgpack.Timestamp, st.integers(-(2**36), 2**36), st.integers(0, 999_999).map(lambda us: us * 1000))
)
KEYS = (
    st.text()
    | st.integers(-5, 5)
    | st.binary(max_size=3)
    | st.none()
    | st.tuples(st.text(max_size=2), st.tuples(st.integers(0, 3)))
    | st.sampled_from(["$ref", "$$ref", "$map", "$", "$time"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner, max_size=2).map(tuple)
    ),
    max_leaves=12,
)


def nested(levels: int, kinds: str) -> Any:
    """Return a value of as many levels of lists, maps, or maps whose keys are not text."""
    value: Any = 1
    for level in range(levels):
        kind = kinds[level % len(kinds)]
        value = [value] if kind == "l" else {"a" if kind == "m" else 7: value}
    return value


def through_all_ways(value: Any) -> Any:
    """Put a value, and read it by each way; all must give the same, byte for byte, which is returned."""
    with dagbox.open(":memory:") as db, dagbox.open(":memory:") as other:
        ref = db.put("b", value, key="k")
        record = db.get_record(ref)
        (listed,) = db.scan("b")
        (many,) = db.get_many([ref])
        assert many is not None
        lines = list(export_database(db, None, versions=False))
        assert import_lines(other, [line.encode() for line in lines]).records == 1
        found = [db.get(ref), record.data, listed.data, many.data, db.fetch(ref).data, other.get("b", "k")]
        assert {pack(each) for each in found} == {pack(db.get(ref))}
        return db.get(ref)


def plain(value: Any) -> Any:
    """Return the value with its times in UTC, and an extension that is a ref as that ref."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, msgpack.Timestamp):
        return value.to_datetime()
    if isinstance(value, msgpack.ExtType):
        return unpack_data(pack(value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@example(-math.nan)
@example(dagbox.Ref("b", "k", 7))
@given(VALUES)
def test_a_value_that_is_accepted_is_read_by_all_ways(value: Any) -> None:
    try:
        pack_data(value)
    except InvalidArgument:
        with dagbox.open(":memory:") as db:
            with pytest.raises(InvalidArgument):
                db.put("b", value, key="k")
            assert db.get("b", "k", None) is None
    else:
        # Times are kept as moments, tuples as lists: else the bytes are those of the value itself.
        assert pack(plain(through_all_ways(value))) == pack(plain(value))


@pytest.mark.parametrize("kinds", ["l", "m", "lm"])
def test_a_value_of_511_levels_is_read_by_all_ways(kinds: str) -> None:
    value = nested(511, kinds)
    assert pack(through_all_ways(value)) == pack(value)
    with dagbox.open(":memory:") as db, pytest.raises(InvalidArgument, match="511 deep"):
        db.put("b", nested(512, kinds))


HOUR = timezone(timedelta(hours=1))
REFUSED = [
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    [{"a": datetime.min.replace(tzinfo=HOUR)}],
    msgpack.Timestamp(2**62, 0),
    msgpack.Timestamp(1, 1),
    msgpack.Timestamp(2**35, 999_999_999),
    msgpack.Timestamp(-1, 500),
    dagbox.Ref("", "k"),
    dagbox.Ref("b", ""),
    dagbox.Ref("a/b", "k"),
    dagbox.Ref(1, "k"),  # type: ignore[arg-type]
    dagbox.Ref("b", "k", -1),
    NotFound("b", "k"),
]


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_a_value_that_could_not_be_read_is_refused(value: Any) -> None:
    with dagbox.open(":memory:") as db:
        for data in (value, {"in": [value]}):
            with pytest.raises(InvalidArgument):
                db.put("b", data, key="k")
        with db.batch() as batch, pytest.raises(InvalidArgument):
            batch.put("b", value, key="k")
        assert db.buckets() == {}
        db.put("b", {"min": datetime.min.replace(tzinfo=UTC), "max": datetime.max.replace(tzinfo=UTC)}, key="k")
        assert db.get("b", "k")["max"] == datetime.max.replace(tzinfo=UTC)


# --- what another program packed, which no server looks at

OF_OTHERS = [
    (b"\xd7\xff" + (123456789 << 34 | 60).to_bytes(8, "big"), datetime(1970, 1, 1, 0, 1, 0, 123456, UTC)),
    (b"\xc7\x0c\xff" + (999).to_bytes(4, "big") + (60).to_bytes(8, "big"), datetime(1970, 1, 1, 0, 1, tzinfo=UTC)),
    (b"\xd6\xff" + (60).to_bytes(4, "big"), datetime(1970, 1, 1, 0, 1, tzinfo=UTC)),
    (msgpack.packb(msgpack.ExtType(2, b"x")), msgpack.ExtType(2, b"x")),
    (pack(NotFound("b", "k")), msgpack.ExtType(2, pack(NotFound("b", "k"))[3:])),
    (msgpack.packb(msgpack.ExtType(1, pack(["a/b", "k"]))), msgpack.ExtType(1, pack(["a/b", "k"]))),
    (msgpack.packb(msgpack.ExtType(1, pack(["b", ""]))), msgpack.ExtType(1, pack(["b", ""]))),
    (msgpack.packb(msgpack.ExtType(1, pack(["b", "k", -1]))), msgpack.ExtType(1, pack(["b", "k", -1]))),
]


@pytest.mark.parametrize(("data", "value"), OF_OTHERS, ids=[data.hex() for data, _ in OF_OTHERS])
def test_what_another_program_packed_passes_through_all_ways(tmp_path: Path, data: bytes, value: Any) -> None:
    """A time is read to the microsecond, which a datetime has; an extension that is no ref stays as it is."""
    store = LmdbStore(tmp_path, durability="process")
    store.apply([Batch([Put("b", "k", data)])])
    store.close()
    with dagbox.open(tmp_path) as db, dagbox.open(":memory:") as other:
        assert db.get("b", "k") == value
        assert [record.data for record in db.scan("b")] == [value]
        assert db.fetch("b", "k").data == value
        lines = [line.encode() for line in export_database(db, None, versions=False)]
        assert import_lines(other, lines).records == 1
        assert other.get("b", "k") == value
        assert pack(through_all_ways(value)) == pack(value)
        assert plain_text(value)
    assert verify(tmp_path, decode=unpack_data).problems == []


def plain_text(value: Any) -> str:
    """Return the value as the faces show it, once what they show was read as it was."""
    assert load(dump(value)) == value
    assert parse(f"put a/b [{write(value)}]").values["value"] == [value]
    return dump(value)


# --- records that others packed wrongly, or that were damaged

FOREIGN = [b"\xc1", b"", b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + bytes(7), b"\x81\x80\x01", b"\xa1\xff", b"\x01\x02"]
DAMAGED = [b"", b"\0", bytes(12), b"\1" + bytes(14), b"\2" + bytes(40), b"\xff" * 30, b"text of another program"]
LONG = "b" + "k" * (MAX_KEY_BYTES - 1)
"""The key of the unreadable record: no key that a scan could start with comes directly after it."""


@pytest.fixture(
    params=[(False, data) for data in FOREIGN] + [(True, value) for value in DAMAGED],
    ids=lambda param: f"{'record' if param[0] else 'data'}-{param[1].hex()}",
)
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a directory with three records, the second of which is not a value, or no record at all."""
    whole, value = request.param
    path = tmp_path / "data"
    make_damaged(path, "bad", b"" if whole else value)
    if whole:
        write_raw(path, "bad", value)
    return path


def make_damaged(path: Path, key: str, data: bytes) -> None:
    store = LmdbStore(path, durability="process")
    store.apply([Batch([Put("b", "a", pack(1)), Put("b", key, data), Put("b", "c", pack(3))])])
    store.close()


def write_raw(path: Path, key: str, value: bytes) -> None:
    """Have the bytes of a record changed from outside."""
    with lmdb.open(str(path), max_dbs=100, map_size=2**24) as raw, raw.begin(write=True) as txn:
        txn.put(key.encode(), value, db=raw.open_db(b"b", txn, create=False))


def served(path: Path) -> dagbox.Database:
    return dagbox.open(path, serve=True, durability="process")


@pytest.mark.parametrize("through", ["embedded", "node"])
def test_a_record_that_cannot_be_read_is_one_error_with_its_name(damaged: Path, through: str) -> None:
    with served(damaged) as local, dagbox.connect(damaged) as remote:
        db = local if through == "embedded" else remote
        ways = (
            lambda: db.get("b", "bad"),
            lambda: db.get_record("b", "bad"),
            lambda: db.get_many([("b", "a"), ("b", "bad")]),
            lambda: db.fetch("b", "bad"),
            lambda: db.fetch("b", "a", relations={"to": [("b", "bad")]}),
            lambda: db.fetch("b", "bad", relations={"to": {"path": "x"}}),
            lambda: list(db.scan("b")),
        )
        for way in ways:
            with pytest.raises(UnreadableRecord, match="b/bad cannot be read") as raised:
                way()
            assert (raised.value.bucket, raised.value.key) == ("b", "bad")
        assert [record.data for record in db.scan("b", start="bad\0")] == [3]
        assert [record.key for record in db.scan("b", keys_only=True)] == ["a", "bad", "c"]
        assert [record.data for record in db.scan("b", limit=1)] == [1]


@pytest.mark.parametrize("through", ["embedded", "node"])
def test_the_records_beside_it_can_be_had_and_it_is_named(damaged: Path, through: str) -> None:
    with served(damaged) as local, dagbox.connect(damaged) as remote:
        db = local if through == "embedded" else remote
        skipped: list[UnreadableRecord] = []
        three = [("b", "a"), ("b", "bad"), ("b", "c")]
        ways: list[Callable[[], list[Any]]] = [
            lambda: [record.data for record in db.scan("b", skip=skipped.append)],
            lambda: [record.data for record in db.scan("b", skip=skipped.append, reverse=True)][::-1],
            lambda: [record.data for record in db.scan("b", skip=skipped.append, limit=3)],
            lambda: [record.data for record in db.get_many(three, skip=skipped.append) if record is not None],
        ]
        for number, way in enumerate(ways, 1):
            assert way() == [1, 3]
            assert [(error.bucket, error.key) for error in skipped] == [("b", "bad")] * number
        assert db.get_many(three, skip=skipped.append)[1] is None
        assert [record.data for record in db.scan("b", skip=skipped.append, limit=2)] == [1]
        with db.pipeline() as pipeline:
            found = [pipeline.fetch(each) for each in three]
        assert [isinstance(each.exception(), UnreadableRecord) for each in found] == [False, True, False]


async def test_an_asyncio_database_leaves_it_out_too(damaged: Path) -> None:
    skipped: list[UnreadableRecord] = []
    async with dagbox.aio.open(damaged) as db:
        assert [record.data async for record in db.scan("b", skip=skipped.append)] == [1, 3]
        assert len(await db.get_many([("b", "bad"), ("b", "a")], skip=skipped.append)) == 2
    assert [error.key for error in skipped] == ["bad", "bad"]


def test_a_scan_goes_on_after_one_whose_key_is_as_long_as_can_be(tmp_path: Path) -> None:
    make_damaged(tmp_path / "data", LONG, b"\xc1")
    skipped: list[UnreadableRecord] = []
    with dagbox.open(tmp_path / "data") as db:
        assert [record.key for record in db.scan("b", skip=skipped.append)] == ["a", "c"]
        assert len(list(export_database(db, None, versions=False, skip=skipped.append))) == 2
    assert [error.key for error in skipped] == [LONG, LONG]


def test_export_leaves_it_out_and_names_it(damaged: Path) -> None:
    skipped: list[UnreadableRecord] = []
    with dagbox.open(damaged) as db:
        assert len(list(export_database(db, None, versions=False, skip=skipped.append))) == 2
    store = LmdbStore(damaged, readonly=True)
    with store.snapshot() as snapshot:
        assert len(list(export_snapshot(snapshot, None, versions=False, skip=skipped.append))) == 2
        with pytest.raises(UnreadableRecord):
            list(export_snapshot(snapshot, None, versions=False))
    store.close()
    assert [error.key for error in skipped] == ["bad", "bad"]


def test_verify_finds_it(damaged: Path) -> None:
    problems = verify(damaged, decode=unpack_data).problems
    assert problems
    assert all(problem.startswith("b/bad: ") for problem in problems)


@pytest.mark.parametrize("data", FOREIGN, ids=bytes.hex)
def test_a_copy_that_holds_data_that_are_no_value_can_be_restored(data: bytes, tmp_path: Path) -> None:
    make_damaged(tmp_path / "copy", "bad", data)
    restore(tmp_path / "copy", tmp_path / "restored")
    with dagbox.open(tmp_path / "restored") as db:
        assert [record.key for record in db.scan("b", keys_only=True)] == ["a", "bad", "c"]


@pytest.mark.parametrize("derives", [False, True])
@pytest.mark.parametrize("first", ["put", "delete"])
def test_it_can_be_deleted_and_written_anew(damaged: Path, first: str, derives: bool) -> None:
    with dagbox.open(damaged) as db:
        if derives:
            db.add_rule("derive value(key, data) from b.")
        if first == "delete":
            assert db.delete("b", "bad")
        db.put("b", 2, key="bad")
        assert [record.data for record in db.scan("b")] == [1, 2, 3]
        if derives:
            assert sorted(fact.args for fact in db.facts("value")) == [("a", 1), ("bad", 2), ("c", 3)]
        assert db.delete("b", "bad")
    assert verify(damaged, decode=unpack_data).problems == []


@pytest.mark.parametrize("damage", [b"\xff" * 30, b"", bytes(13) + b"\2", bytes(13) + b"\xc1"], ids=bytes.hex)
@pytest.mark.parametrize("new", [1, 2, None])
def test_what_a_record_gave_before_it_was_damaged_goes_with_it(tmp_path: Path, damage: bytes, new: int | None) -> None:
    rules = ("derive value(key, data) from b.", "derive only(data) from b.", "derive turned(data, key, data) from b.")
    with dagbox.open(tmp_path) as db:
        for rule in rules:
            db.add_rule(rule)
        with db.batch() as batch:
            for key in ("bad", "c", "d"):
                batch.put("b", 1, key=key)
    write_raw(tmp_path, "bad", damage)
    with dagbox.open(tmp_path) as db:
        if new is None:
            db.delete("b", "bad")
        else:
            db.put("b", new, key="bad")
        left = {key: db.get("b", key) for key in ("bad", "c", "d") if db.get("b", key, None) is not None}
        assert sorted(fact.args for fact in db.facts("value")) == sorted(left.items())
        assert sorted(fact.args for fact in db.facts("only")) == sorted((value,) for value in set(left.values()))
    assert verify(tmp_path, decode=unpack_data).problems == []


@pytest.mark.parametrize("version", [0, 1])
def test_a_record_that_is_damaged_is_at_no_version(tmp_path: Path, version: int) -> None:
    make_damaged(tmp_path, "bad", b"")
    write_raw(tmp_path, "bad", b"\xff" * 30)
    with dagbox.open(tmp_path) as db:
        with pytest.raises(UnreadableRecord, match="b/bad cannot be read"):
            db.put("b", 2, key="bad", if_version=version)
        with pytest.raises(UnreadableRecord, match="b/bad cannot be read"):
            db.delete("b", "bad", if_version=version)


def test_what_is_written_over_it_does_not_end_when_it_would_have(tmp_path: Path) -> None:
    now = 1000.0
    store = LmdbStore(tmp_path, durability="process", clock=lambda: now)
    store.apply([Batch([Put("b", "bad", pack(1), ttl_ms=5000), Put("b", "other", pack(2), ttl_ms=5000)])])
    store.close()
    write_raw(tmp_path, "bad", b"\xff" * 30)
    store = LmdbStore(tmp_path, durability="process", clock=lambda: now)
    store.apply([Batch([Put("b", "bad", pack(3))])])
    now = 2000.0
    assert store.sweep() == 1
    assert store.get("b", "other") is None
    stored = store.get("b", "bad")
    assert stored is not None
    assert stored.data == pack(3)
    store.close()
    assert verify(tmp_path, decode=unpack_data).problems == []


def test_a_key_that_is_no_text_is_the_error_of_its_record_and_verify_finds_it(tmp_path: Path) -> None:
    make_damaged(tmp_path, "bad", pack(1))
    with lmdb.open(str(tmp_path), max_dbs=100, map_size=2**24) as raw, raw.begin(write=True) as txn:
        txn.put(b"\xff\xfe", b"\0" * 20, db=raw.open_db(b"b", txn, create=False))
    with dagbox.open(tmp_path) as db, pytest.raises(UnreadableRecord, match="is not text"):
        list(db.scan("b"))
    assert any("its key is not text" in problem for problem in verify(tmp_path).problems)


# --- import


def test_import_goes_on_after_what_the_writer_refuses() -> None:
    lines = [b'{"bucket": "b", "key": "k%d", "data": %d}' % (number, number) for number in range(40)]
    lines[7:7] = [b'{"rule": "p(X) :- not q(X)."}', b'{"rule": "broken("}']
    lines.append(b'{"fact": ["p", "x"]}')
    with dagbox.open(":memory:") as db:
        done = import_lines(db, lines, keep_going=True)
        assert (done.records, done.facts, done.rules) == (40, 1, 0)
        assert sorted(error.line for error in done.broken) == [8, 9]
        assert db.buckets() == {"b": 40}
        assert len(db.facts("p")) == 1


# --- one moment


def test_an_export_of_a_directory_is_of_one_moment(tmp_path: Path) -> None:
    """Each record has a fact, written in the same commit; what is written during the export is in neither."""

    def write(first: int) -> None:
        with db.batch() as batch:
            for number in range(first, first + 1500):
                batch.put("b", number, key=f"k{number}")
                batch.assert_fact("known", f"k{number}")

    with dagbox.open(tmp_path, durability="process") as db:
        db.add_rule("known(X) :- seen(X).")
        write(0)
        node = db._node  # type: ignore[attr-defined]
        with node.store.snapshot() as snapshot:
            lines = export_snapshot(snapshot, None, versions=False)
            records = [next(lines)]
            write(1500)
            records += lines
            logic = list(export_logic_of_snapshot(snapshot))
        assert (len(records), len(logic)) == (1500, 1501)
        with dagbox.open(":memory:") as other:
            import_lines(other, [line.encode() for line in (*records, *logic)])
            assert {record.key for record in other.scan("b")} == {fact.args[0] for fact in other.facts("known")}
            assert [rule.text for rule in other.rules()] == ["known(X) :- seen(X)."]
