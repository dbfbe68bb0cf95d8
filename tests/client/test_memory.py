"""A database in memory: of one object, with nothing on disk, refused where a directory is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import dagbox
import dagbox.aio


def test_each_is_a_database_of_its_own_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with dagbox.open(":memory:") as one, dagbox.open(":memory:") as other:
        ada = one.put("user", {"name": "Ada"}, key="ada")
        assert one.get(ada) == {"name": "Ada"}
        assert other.get("user", "ada", None) is None
        assert one.address == ":memory:"
        with one.lock("report") as lease:
            one.put("report", {}, key="r", fence=lease)
        with other.lock("report"):
            assert one.locks() == []
    assert list(tmp_path.iterdir()) == []


async def test_coroutines_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with dagbox.aio.open(":memory:") as db:
        async with db.lock("report") as lease:
            await db.put("report", {"n": 1}, key="r", fence=lease)
        assert await db.get("report", "r") == {"n": 1}
    assert list(tmp_path.iterdir()) == []


def test_a_closed_one_says_so() -> None:
    db = dagbox.open(":memory:")
    db.close()
    with pytest.raises(dagbox.StoreError, match="closed"):
        db.get("user", "ada")


@pytest.mark.parametrize(
    "given", [{"serve": True}, {"map_size": 1 << 20}, {"max_buckets": 5}, {"readonly": True}, {"durability": "half"}]
)
def test_what_needs_a_directory_is_refused_by_name(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(dagbox.InvalidArgument, match=name) as refused:
        dagbox.open(":memory:", **given)
    assert "\n" not in str(refused.value)


def test_a_forked_child_goes_on_with_a_copy() -> None:
    with dagbox.open(":memory:") as db:
        db.put("user", {"n": 1}, key="a")
        with db.lock("k", ttl=60) as lease:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    db.put("user", {"n": 2}, key="a")
                    held = [info.token for info in db.locks()] == [lease.token]
                    status = 0 if held and db.get("user", "a") == {"n": 2} else 2
                finally:
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
        assert db.get("user", "a") == {"n": 1}
