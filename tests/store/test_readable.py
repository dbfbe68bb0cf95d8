"""What `put` accepts can be read, listed, exported and imported, and a record that cannot be read is one error."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dagbox
from dagbox.errors import InvalidArgument, NotFound, UnreadableRecord
from dagbox.protocol.values import pack, pack_data, unpack
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
    | st.builds(dagbox.Ref, NAMES, st.text(min_size=1))
    | st.datetimes(timezones=ZONES)
    | st.builds(msgpack.ExtType, st.integers(3, 127), st.binary(max_size=5))
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
    """Return the value with its times in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@example(-math.nan)
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


# --- records that others packed wrongly, or that were damaged

FOREIGN = [b"\xc1", b"", b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + bytes(7), b"\x81\x80\x01", b"\xa1\xff", b"\x01\x02"]


@pytest.fixture(params=FOREIGN, ids=bytes.hex)
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a directory with three records, the second of which is not a value."""
    path = tmp_path / "data"
    store = LmdbStore(path, durability="process")
    store.apply([Batch([Put("b", "a", pack(1)), Put("b", "bad", request.param), Put("b", "c", pack(3))])])
    store.close()
    return path


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
            lambda: list(db.scan("b")),
        )
        for way in ways:
            with pytest.raises(UnreadableRecord, match="b/bad cannot be read") as raised:
                way()
            assert (raised.value.bucket, raised.value.key) == ("b", "bad")
        assert [record.data for record in db.scan("b", start="bad\0")] == [3]
        assert [record.key for record in db.scan("b", keys_only=True)] == ["a", "bad", "c"]
        assert [record.data for record in db.scan("b", limit=1)] == [1]


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
    (problem,) = verify(damaged, decode=unpack).problems
    assert problem.startswith("b/bad: its data cannot be read")


def test_a_copy_that_holds_it_can_be_restored(damaged: Path, tmp_path: Path) -> None:
    restore(damaged, tmp_path / "restored")
    with dagbox.open(tmp_path / "restored") as db:
        assert [record.key for record in db.scan("b", keys_only=True)] == ["a", "bad", "c"]


def test_it_can_be_deleted_and_written_anew(damaged: Path) -> None:
    with dagbox.open(damaged) as db:
        assert db.delete("b", "bad")
        db.put("b", 2, key="bad")
        assert [record.data for record in db.scan("b")] == [1, 2, 3]


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
