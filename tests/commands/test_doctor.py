"""`dagbox doctor`: of a node, and of directories."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.commands.doctor import lines_of, watch
from tests.commands.conftest import Run
from tests.problems.polls import poll, service


def watched(make: Callable[[int], Any], for_s: float = 10.0) -> list[Any]:
    """What is told of polls of each second, on a clock that only waiting moves."""
    now = [0.0]

    def polls(asked: object) -> Sequence[Any]:
        made = make(int(now[0]))
        if isinstance(made, Exception):
            raise made
        return [whole(made)]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    return watch(polls, for_s, lambda: now[0], sleep)


def whole(made: Any) -> Any:
    """A poll with all that the model asks for."""
    broker = {"uptime_ms": 1.0, "clients": 1, "requests": 0, **made["broker"]}
    services = [{"waiting_bytes": 0, "line": each["work"], **each} for each in made["services"]]
    more: dict[str, Any] = {"id": "", "pid": 1, "host": "", "pings": 1, "age_ms": 1.0, "done": 0, "errors": 0}
    workers = [{**more, "cpu": 0.0, "rss": 0, **each} for each in made["workers"]]
    return {**made, "broker": broker, "services": services, "workers": workers}


def test_a_node_that_is_well() -> None:
    assert watched(poll) == []


def test_what_was_wrong_for_a_while_is_told_too() -> None:
    [told] = watched(lambda second: poll(second, [service("thumb", live=0, waiting=3 if second < 5 else 0)]), 20)
    assert (told.problem.rule, told.there) == ("unserved", False)
    assert "(over)" in lines_of([told])[0]


def test_a_node_that_goes_away_is_a_problem() -> None:
    [told] = watched(lambda second: poll(second) if second < 4 else dagbox.CannotConnect("data", "gone"))
    assert (told.problem.rule, told.problem.sign) == ("node", "✗")


def test_a_node_that_was_never_there_is_an_error() -> None:
    with pytest.raises(dagbox.CannotConnect):
        watched(lambda second: dagbox.CannotConnect("data", "gone"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A database without a node."""
    with dagbox.open(tmp_path / "data") as db:
        for number in range(50):
            db.put("user", {"name": f"user {number}" * 20}, key=f"u{number}")
    return tmp_path / "data"


def test_a_directory_that_is_well(run: Run, directory: Path) -> None:
    ended = run("doctor", str(directory))
    assert (ended.status, ended.out) == (0, "no problems to mend, none to watch\n")


def test_what_is_wrong_with_a_directory(run: Run, directory: Path) -> None:
    (directory / "node.json").write_text(json.dumps({"pid": 2**22 + 7, "url": "ipc:///nowhere"}))
    (directory / ".compact-abc").mkdir()
    directory.chmod(0o755)
    (directory / "data.mdb").chmod(0o644)
    rows = run("doctor", str(directory), "--json").rows
    assert [(row["sign"], row["rule"]) for row in rows] == [
        ("▲", "permissions"),
        ("▲", "leftovers"),
        ("▲", "leftovers"),
    ]
    assert run("doctor", str(directory)).status == 0


def test_damage_is_found_and_can_be_allowed(run: Run, directory: Path) -> None:
    file = directory / "data.mdb"
    data = bytearray(file.read_bytes())
    place = data.index(b"user 7user 7")
    data[place : place + 4] = b"abus"
    file.write_bytes(data)
    ended = run("doctor", str(directory))
    assert ended.status == 1
    assert "user/u7" in ended.out
    assert "dagbox restore" in ended.out
    assert run("doctor", str(directory), "--allow", "store").status == 0


def test_a_file_that_is_no_database(run: Run, directory: Path) -> None:
    file = directory / "data.mdb"
    file.write_bytes(b"not a database" * 1000)
    ended = run("doctor", str(directory))
    assert ended.status == 1
    assert "✗" in ended.out


@pytest.mark.parametrize(
    ("name", "text"), [("nowhere", "no such directory"), ("file", "it is a file"), ("empty", "no database")]
)
def test_where_there_is_no_database(run: Run, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    ended = run("doctor", str(tmp_path / name))
    assert ended.status == 1
    assert text in ended.out
    assert "dagbox up" in ended.out


def test_rules_that_there_are_not(run: Run, directory: Path) -> None:
    ended = run("doctor", str(directory), "--allow", "slwo")
    assert ended.status == 2
    assert "slow" in ended.err


def test_a_node(run: Run, node: str) -> None:
    ended = run("doctor", node, "--for", "1s", "--json")
    assert [row for row in ended.rows if row["sign"] == "✗"] == []
    assert ended.status == 0
