"""What another program wrote into a store, and what is damaged in it, is one error with its name, or passed over."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import lmdb
import pytest

import dagbox
from dagbox.cli import main as command_line
from dagbox.errors import DagBoxError, StoreUnavailable, UnreadableRecord
from dagbox.store.lmdb.store import LmdbStore
from dagbox.store.maintenance import verify
from dagbox.store.tables import OWN_TABLES

FOREIGN = (b"\xff", b"ada\xff", b"zz\x80\xfe", b"\xed\xa0\x80")
"""Bytes that no text has; the last are those of a lone surrogate."""
RULE = "derive team(key, data.name) from user."
GARBAGE = (b"", b"\xc1", b"\xff" * 3, b"\x93\x01\x02", b"\x81\xa1a\x01", b"\x01" * 40)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store with records, one that ends, facts, rules and a declaration."""
    where = tmp_path / "store"
    with dagbox.open(where) as db:
        for key in ("ada", "bob", "cy"):
            db.put("user", {"name": key}, key=key)
        db.put("user", {"name": "ends"}, key="ends", ttl=3600)
        use_lock(db)
        db.assert_fact("likes", "ada", "bob")
        db.add_rule("friend(X, Y) :- likes(X, Y).")
        db.add_rule(RULE)
    return where


def write(path: Path, table: bytes | None, entries: dict[bytes, bytes]) -> None:
    """Write to a table by LMDB alone, as another program does."""
    with closing(lmdb.open(str(path), max_dbs=64)) as env:
        handle = env.open_db(table)
        with env.begin(write=True) as txn:
            for key, value in entries.items():
                txn.put(key, value, db=handle)


def a_record(path: Path) -> bytes:
    """Return the bytes of a record."""
    with closing(lmdb.open(str(path), max_dbs=64)) as env:
        handle = env.open_db(b"user")
        with env.begin() as txn:
            value = txn.get(b"ada", db=handle)
    assert value is not None
    return value


def scanned(db: dagbox.Database, **options: Any) -> tuple[list[str], list[UnreadableRecord]]:
    skipped: list[UnreadableRecord] = []
    return [record.key for record in db.scan("user", skip=skipped.append, **options)], skipped


SCANS: tuple[dict[str, Any], ...] = (
    {},
    {"reverse": True},
    {"keys_only": True},
    {"where": "name != 'x'"},
    {"order": "name"},
)


@pytest.mark.parametrize("options", SCANS, ids=str)
@pytest.mark.parametrize("page", [1, 2, 500])
def test_a_key_that_is_not_text_is_one_error(
    path: Path, options: dict[str, Any], page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, b"user", dict.fromkeys(FOREIGN, a_record(path)))
    monkeypatch.setattr("dagbox.client._sync.records.SCAN_PAGE", page)
    with dagbox.open(path) as db:
        found, skipped = scanned(db, **options)
        assert sorted(found) == ["ada", "bob", "cy", "ends"]
        names = sorted(f"user/{key.decode(errors='backslashreplace')}" for key in FOREIGN)
        assert sorted(f"{error.bucket}/{error.key}" for error in skipped) == names
        assert all("its key is not text" in str(error) for error in skipped)
        with pytest.raises(UnreadableRecord, match="its key is not text"):
            list(db.scan("user", **options))


def test_a_node_passes_them_on(path: Path) -> None:
    write(path, b"user", dict.fromkeys(FOREIGN, a_record(path)))
    with dagbox.open(path, serve=True) as served, dagbox.connect(path, direct=False) as db:
        for client in (served, db):
            found, skipped = scanned(client)
            assert (len(found), len(skipped)) == (4, len(FOREIGN))


def test_a_bucket_whose_name_is_not_text_is_no_bucket_and_told(path: Path) -> None:
    write(path, b"odd\xff", {b"k": b"v"})
    write(path, None, {b"plain": b"entry"})
    with dagbox.open(path) as db:
        assert set(db.buckets()) == {"user"}
        db.put("new", 1, key="k")
    with dagbox.open(path, readonly=True) as db:
        assert set(db.buckets()) == {"new", "user"}
    problems = verify(path).problems
    assert len(problems) == 2
    assert "odd\\xff" in problems[0]
    assert "plain" in problems[1]


def test_a_data_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    for table in (b"odd\xff", b"theirs", None):
        where = tmp_path / str(table)
        where.mkdir()
        write(where, table, {b"k": b"v"})
        before = (where / "data.mdb").read_bytes()
        with pytest.raises(StoreUnavailable, match="not one that DagBox wrote"):
            dagbox.open(where)
        assert (where / "data.mdb").read_bytes() == before


@pytest.mark.parametrize(
    "place", [b"odd\xff\0k", b"user\0\xff", b"user\0", b"user", b"", b"~meta\0version", b"user\0ada", b"nobody\0k"]
)
def test_an_entry_of_the_expiry_index_that_fits_no_record_does_no_harm(path: Path, place: bytes) -> None:
    write(path, b"~expiry", {(1).to_bytes(8, "big") * 2 + bytes(8): place})
    with dagbox.open(path) as db:
        db.put("user", {"name": "dan"}, key="dan")
        assert set(db.buckets()) == {"user"}
        assert [record.key for record in db.scan("user")] == ["ada", "bob", "cy", "dan", "ends"]
        db.query("team(K, N)")
    with closing(LmdbStore(path)) as store:
        store.sweep()
        store.sweep()
    with dagbox.open(path) as db:
        assert db.get("user", "ada") == {"name": "ada"}
        db.put("user", 1, key="again")


def ways(path: Path) -> Iterator[Callable[[], object]]:
    """Yield what can be done with a store, one by one."""

    def opened(act: Callable[[dagbox.Database], object]) -> Callable[[], object]:
        def do() -> None:
            with dagbox.open(path) as db:
                act(db)

        return do

    acts: tuple[Callable[[dagbox.Database], object], ...] = (
        lambda db: db.put("user", {"name": "eve"}, key="eve"),
        lambda db: db.put("user", {"name": "eve"}, key="eve", ttl=0.001),
        lambda db: db.delete("user", "bob"),
        lambda db: db.get("user", "ada"),
        lambda db: db.get_many([("user", "ada"), ("user", "cy")]),
        lambda db: db.fetch(
            "user", "ada", relations={"friends": {"query": "friend($key, X)", "var": "X", "bucket": "user"}}
        ),
        lambda db: scanned(db),
        lambda db: scanned(db, keys_only=True, reverse=True),
        lambda db: db.buckets(),
        lambda db: db.facts(),
        lambda db: db.rules(),
        lambda db: db.query("friend(X, Y)"),
        lambda db: db.query("team(X, 'ada')"),
        lambda db: db.why("friend('ada', 'bob')"),
        lambda db: db.assert_fact("likes", "bob", "cy"),
        lambda db: db.retract_fact("likes", "ada", "bob"),
        lambda db: db.add_rule("other(X) :- friend(X, X)."),
        lambda db: db.drop_rule(db.rules()[0].id),
        use_lock,
    )
    yield from map(opened, acts)

    def sweep() -> None:
        with closing(LmdbStore(path, clock=lambda: 10_000_000_000.0)) as store:
            store.sweep()
            store.stats()

    yield sweep
    yield lambda: verify(path)


def test_all_ways_pass_on_a_sound_store(path: Path) -> None:
    for act in ways(path):
        act()


def use_lock(db: dagbox.Database) -> None:
    with db.lock("k", ttl=1) as lease:
        db.put("user", {"name": "under a lock"}, key="bob", fence=lease)


COMMANDS = (["export"], ["verify"], ["buckets"], ["facts"], ["rules"], ["scan", "user"])


@pytest.mark.parametrize("table", sorted(OWN_TABLES | {"user", "~locks"}))
def test_whatever_is_damaged_is_an_error_of_dagbox(path: Path, table: str) -> None:
    """Damage each entry of a table in turn, and add foreign ones; nothing but a DagBoxError may come out."""
    sound = (path / "data.mdb").read_bytes()
    with closing(lmdb.open(str(path), max_dbs=64)) as env:
        handle = env.open_db(table.encode())
        with env.begin() as txn:
            keys = [key for key, _ in txn.cursor(handle)][:12]
    changes = [{key: value} for key in keys for value in GARBAGE] + [
        {key: value} for key in FOREIGN for value in GARBAGE[:3]
    ]
    faults: list[str] = []
    for change in changes:
        (path / "data.mdb").write_bytes(sound)
        write(path, table.encode(), change)
        damaged = (path / "data.mdb").read_bytes()
        for number, act in enumerate(ways(path)):
            (path / "data.mdb").write_bytes(damaged)
            try:
                with suppress(DagBoxError):
                    act()
            except Exception as error:  # noqa: BLE001 (it is what is looked for)
                faults.append(f"{change} {number}: {error!r}")
        for command in COMMANDS:
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err):
                command_line([command[0], "--at", str(path), *command[1:]])
            if "fault of dagbox" in err.getvalue() or "Traceback" in err.getvalue():
                faults.append(f"{change} {command}: {err.getvalue()}")
    assert not faults, "\n".join(faults[:20])
