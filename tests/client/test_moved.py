"""A directory that is moved, removed, replaced or reached by another path while a database is open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import dagbox
from dagbox.errors import StoreUnavailable


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_a_write_to_a_removed_directory_is_refused_and_reads_go_on(place: Path, tmp_path: Path) -> None:
    with dagbox.open(place) as db:
        db.put("b", 1, key="k")
        shutil.rmtree(place)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"data\.mdb was removed"):
                db.put("b", 2, key="l")
        with pytest.raises(StoreUnavailable), db.batch() as batch:
            batch.put("b", 3, key="m")
        with pytest.raises(StoreUnavailable):
            db.delete("b", "never there")
        assert db.get("b", "k") == 1
        db.backup(tmp_path / "kept")
    with dagbox.open(tmp_path / "kept") as db:
        assert db.get("b", "k") == 1


def test_opening_a_removed_directory_again_makes_a_new_one(place: Path) -> None:
    with dagbox.open(place) as old:
        old.put("b", 1, key="k")
        shutil.rmtree(place)
        with dagbox.open(place) as new:
            assert new.buckets() == {}
            new.put("b", 2, key="k")
            assert (old.get("b", "k"), new.get("b", "k")) == (1, 2)
    with dagbox.open(place) as db:
        assert db.get("b", "k") == 2


def test_a_replaced_file_is_noticed(place: Path, tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "other") as db:
        db.put("b", "other", key="k")
    with dagbox.open(place) as db:
        db.put("b", 1, key="k")
        os.replace(tmp_path / "other" / "data.mdb", place / "data.mdb")
        with pytest.raises(StoreUnavailable, match=r"data\.mdb was removed or replaced"):
            db.put("b", 2, key="k")
    with dagbox.open(place) as db:
        assert db.get("b", "k") == "other"


def test_without_its_lock_file_nothing_more_is_written(place: Path) -> None:
    with dagbox.open(place) as db:
        db.put("b", 1, key="k")
        (place / "lock.mdb").unlink()
        with pytest.raises(StoreUnavailable, match=r"lock\.mdb was removed"):
            db.put("b", 2, key="k")


def test_a_moved_directory_is_the_same_database(place: Path, tmp_path: Path) -> None:
    with dagbox.open(place) as db:
        db.put("b", 1, key="k")
        place.rename(tmp_path / "moved")
        db.put("b", 2, key="k")
        with dagbox.open(tmp_path / "moved") as same, dagbox.open(place) as new:
            assert same.get("b", "k") == 2
            assert new.buckets() == {}
            with same.lock("x") as lease:
                same.put("b", 3, key="k", fence=lease)
            assert db.get("b", "k") == 3


def test_two_paths_to_one_directory_are_one_database(place: Path, tmp_path: Path) -> None:
    with dagbox.open(place) as db:
        (tmp_path / "link").symlink_to(place)
        with dagbox.open(tmp_path / "link") as same:
            same.put("b", 1, key="k")
        assert db.get("b", "k") == 1


def test_a_forked_child_does_not_go_on_in_another_store(place: Path) -> None:
    with dagbox.open(place) as db:
        db.put("b", 1, key="k")
        shutil.rmtree(place)
        with dagbox.open(place) as other:
            other.put("b", 2, key="k")

        child = os.fork()
        if child == 0:
            try:
                db.get("b", "k")
            except StoreUnavailable as error:
                os._exit("replaced" in error.reason)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 1
