"""A record that cannot be read is one error with its name, in command line and shell; all others are shown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import dagbox
from dagbox.protocol.values import pack
from dagbox.shell.connection import Connection
from dagbox.shell.editor.live_names import FETCHERS
from dagbox.shell.output import Output
from dagbox.shell.session import Shell
from dagbox.store.base import Batch, Put
from dagbox.store.lmdb.store import LmdbStore
from tests.commands.conftest import Run, clean_environment, run
from tests.shell.conftest import Driven, refuse

__all__ = ["clean_environment", "run"]

REASON = "cannot be read (not one MessagePack value"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give a directory with readable and unreadable records, and one that refers to an unreadable one."""
    path = tmp_path / "data"
    store = LmdbStore(path, durability="process")
    good = [Put("b", key, pack({"n": number})) for number, key in enumerate(("a", "c", "e"))]
    store.apply([Batch([*good, Put("b", "bad", b"\xc1"), Put("b", "dad", b"\xc1")])])
    store.apply([Batch([Put("c", "to", pack({"ref": dagbox.Ref("b", "bad")})), Put("c", "bad", b"\xc1")])])
    store.close()
    return path


@pytest.fixture
def driven(directory: Path) -> Iterator[Driven]:
    out, err = io.StringIO(), io.StringIO()
    shell = Shell(Connection(str(directory), dagbox.open(directory)), Output(out, err, terminal=False))
    yield Driven(shell, out, err)
    shell.close()


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("way", [("--format", "json"), ("--data",), ("--format", "table"), ("--reverse",)], ids=str)
def test_scan_shows_the_others_names_it_and_fails(run: Run, way: tuple[str, ...]) -> None:
    ended = run("scan", "b", *way)
    assert ended.status == 1
    assert sum(f'"n": {number}' in ended.out for number in range(3)) == 3
    named = [line for line in ended.err.splitlines() if REASON in line]
    assert sorted(line.split()[5] for line in named) == ["b/bad", "b/dad"]
    assert run("scan", "b", "--stop", "b").status == 0


@pytest.mark.usefixtures("directory")
def test_get_shows_the_others_names_it_and_fails(run: Run) -> None:
    ended = run("get", "b/a", "b/bad", "b/none", "b/c", "--data")
    assert (ended.status, ended.rows) == (1, [{"n": 0}, {"n": 1}])
    assert [line.split()[2:6] for line in ended.err.splitlines()] == [
        ["the", "data", "of", "b/bad"],
        ["no", "record", "b/none"],
    ]
    ended = run("get", "b/a", "c/to", "--with", "to: via ref", "--format", "json")
    assert ended.status == 1
    assert ended.err.count("b/bad") == 1
    assert [(row["key"], [(to["key"], "error" in to) for to in row["relations"]["to"]]) for row in ended.rows] == [
        ("a", []),
        ("to", [("bad", True)]),
    ]
    ended = run("get", "c/to", "--with", "to: via ref")
    assert ended.status == 1
    assert "b/bad  version 1  cannot be read: not one MessagePack value" in ended.out
    ended = run("get", "b/bad")
    assert (ended.status, ended.out) == (1, "")


@pytest.mark.usefixtures("directory")
def test_query_shows_the_others_names_it_and_fails(run: Run) -> None:
    with dagbox.open("data") as db:
        for key in ("a", "bad"):
            db.assert_fact("is", key)
    ended = run("query", "is(X)", "--fetch", "X=b", "--format", "json")
    assert (ended.status, [row["X"]["key"] for row in ended.rows]) == (1, ["a", "bad"])
    assert ended.err.count(REASON) == 1


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("to_file", [True, False])
def test_export_writes_the_others_names_it_and_fails(run: Run, to_file: bool) -> None:
    ended = run("export", "all.jsonl") if to_file else run("export")
    lines = Path("all.jsonl").read_text().splitlines() if to_file else ended.out.splitlines()
    assert (ended.status, len(lines)) == (1, 4)
    assert ended.err.count(REASON) == 3


def test_the_shell_shows_the_others_names_it_and_fails(driven: Driven, tmp_path: Path) -> None:
    assert "error: 2 records cannot be read: b/bad, b/dad" in driven.error("scan b")
    assert driven.take().count('"n":') == 3
    assert f"error: the data of b/bad {REASON}" in driven.error("get b/a b/bad b/c")
    assert driven.take().count('"n":') == 2
    assert f"error: the data of b/bad {REASON}" in driven.error("get b/a c/to b/c { to: via ref }")
    shown = driven.take()
    assert shown.count('"n":') == 2
    assert f'"error": "the data of b/bad {REASON}' in shown
    assert driven.run("set format tree")
    assert f"error: the data of b/bad {REASON}" in driven.error("get c/to { to: via ref }")
    assert "b/bad  version 1  cannot be read: not one MessagePack value" in driven.take()
    assert driven.run("set format json", "assert is(bad)", "assert is(a)")
    driven.take()
    assert f"error: the data of b/bad {REASON}" in driven.error("query is(X) fetch X in b")
    assert driven.take().count('"key":') == 2
    assert f"error: the data of b/bad {REASON}" in driven.error("scan b --limit 2")
    assert '"key": "a"' in driven.take()
    assert driven.run("scan b --limit 1", "ls b", "ls b --limit 2", "scan b --limit 1 --reverse")
    assert driven.take_errors().count("there are more") == 3
    assert driven.error("scan b --limit 2").startswith("there are more: these are the first 2\n")
    assert driven.error("scan b --limit 5") == "error: 2 records cannot be read: b/bad, b/dad\n"
    assert "error: 2 records cannot be read" in driven.error(f"scan b > {tmp_path}/b.jsonl")
    assert len((tmp_path / "b.jsonl").read_text().splitlines()) == 3
    assert "error: 3 records cannot be read" in driven.error(f"export {tmp_path}/all.jsonl")
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 6  # with the facts


def test_the_shell_deletes_and_overwrites_it(driven: Driven) -> None:
    asked: list[str] = []
    driven.shell.ask = partial(refuse, asked)
    assert not driven.run("del b/bad")
    assert not driven.run("del b/a b/bad")
    assert not driven.run("del-prefix b")
    driven.run("batch", "put b/bad 1", "commit", "abort")
    assert asked == [
        "This will delete b/bad, which cannot be read. Go on?",
        "This will delete 2 records: b/a, b/bad. Go on?",
        "This will delete 5 records of b: a to e. Go on?",
        "This will commit 1 write, among them put b/bad over what cannot be read. Go on?",
    ]
    assert driven.run("del b/bad --yes", "put b/dad 2")
    assert driven.run("scan b")


def test_completion_goes_on_beside_it(directory: Path) -> None:
    with dagbox.open(directory) as db:
        names, _ = FETCHERS["keys"](db, "b", "")
        assert [name.text for name in names] == ["a", "bad", "c", "dad", "e"]
        assert [name.text for name in FETCHERS["fields"](db, ("bucket", "b"))[0]] == ["n"]
        assert [name.text for name in FETCHERS["fields"](db, ("record", "b", "bad"))[0]] == ["n"]
