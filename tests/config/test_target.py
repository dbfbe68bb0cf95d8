"""A target is an address, a directory that a node serves, or a directory that is opened here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import dagbox
from dagbox.config.target import check_directory, holds_store, is_address, node_runs, open_target
from dagbox.errors import CannotConnect, StoreUnavailable


@pytest.fixture
def directory(tmp_path: Path) -> str:
    path = tmp_path / "data"
    with dagbox.open(path) as db:
        db.put("user", 1, key="ada")
    return str(path)


@pytest.mark.parametrize(
    ("target", "address"),
    [("tcp://127.0.0.1:7000", True), ("ipc:///run/x.sock", True), ("data", False), ("/a/b", False)],
)
def test_an_address_has_a_scheme(target: str, address: bool) -> None:
    assert is_address(target) == address


def test_a_directory_without_a_node_is_opened_in_this_process(directory: str) -> None:
    assert holds_store(directory)
    assert not node_runs(directory)
    with open_target(directory, timeout=1) as db:
        assert db.embedded
        assert db.get("user", "ada") == 1


def test_a_directory_with_a_node_is_connected_to(directory: str) -> None:
    with dagbox.open(directory, serve=True), open_target(directory, timeout=5) as db:
        assert not db.embedded
        assert db.get("user", "ada") == 1


def test_the_file_of_a_node_that_died_does_not_count(directory: str) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (Path(directory) / "node.json").write_text(f'{{"format": 1, "address": "ipc:///nowhere.sock", "pid": {child}}}')
    assert not node_runs(directory)
    with open_target(directory, timeout=1) as db:
        assert db.embedded


def test_a_directory_can_be_opened_for_reading_only(directory: str) -> None:
    with open_target(directory, timeout=1, readonly=True) as db:
        assert db.get("user", "ada") == 1
        with pytest.raises(dagbox.DagBoxError):
            db.put("user", 2, key="ada")


def test_a_directory_is_created_only_for_who_asks_for_it(tmp_path: Path, directory: str) -> None:
    new = str(tmp_path / "new")
    with pytest.raises(CannotConnect, match="there is no such directory"):
        open_target(new, timeout=1)
    with pytest.raises(CannotConnect, match="there is no such directory"):
        open_target(new, timeout=1, create=lambda: False)
    assert not Path(new).exists()
    asked = []

    def agree() -> bool:
        asked.append(True)
        return True

    with open_target(new, timeout=1, create=agree) as db:
        db.put("user", 1)
    with open_target(directory, timeout=1, create=agree) as db:
        assert db.get("user", "ada") == 1
    assert asked == [True]


def test_no_database_is_created_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(CannotConnect, match="there is no database in it"):
        check_directory(str(tmp_path), create=False)
    with pytest.raises(StoreUnavailable, match="it holds other files and no database"):
        open_target(str(tmp_path), timeout=1, create=True)


@pytest.mark.parametrize("name", ["dagbox.toml", "node.log"])
def test_files_of_our_own_do_not_keep_a_database_from_being_created(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    check_directory(str(tmp_path), create=True)


def test_a_file_is_no_directory_whatever_is_to_be_done_with_it(tmp_path: Path) -> None:
    path = str(tmp_path / "letter.txt")
    Path(path).write_text("Dear")
    acts: tuple[Callable[[], object], ...] = (
        lambda: open_target(path, timeout=1),
        lambda: open_target(path, timeout=1, create=True),
        lambda: dagbox.open(path),
        lambda: dagbox.open(path, serve=True),
        lambda: dagbox.connect(path),
    )
    for act in acts:
        with pytest.raises((CannotConnect, StoreUnavailable), match="it is a file, not a directory"):
            act()
    assert Path(path).read_text() == "Dear"
