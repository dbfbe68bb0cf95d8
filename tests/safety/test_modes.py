"""What DagBox makes is for its owner only, whatever the umask is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import dagbox
from dagbox.runtime.broker_loop import BrokerLoop
from dagbox.store.maintenance import compact, restore
from tests.runtime.nodes import node_on


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(top: Path) -> list[str]:
    """Return what others than the owner may use; sockets lie in directories of their own."""
    found = [path for path in (top, *top.rglob("*")) if not path.is_socket()]
    return sorted(str(path) for path in found if stat.S_IMODE(path.lstat().st_mode) & 0o077)


def use(db: dagbox.Database) -> None:
    db.put("b", {"x": 1}, key="k")
    db.assert_fact("p", "x")
    with db.lock("l"):
        pass


def test_an_embedded_database(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "top" / "data") as db:
        use(db)
        db.backup(tmp_path / "copy")
        assert open_to_others(tmp_path / "top" / "data") == []
    restore(tmp_path / "copy", tmp_path / "restored")
    compact(tmp_path / "restored")
    assert open_to_others(tmp_path / "copy") + open_to_others(tmp_path / "restored") == []


def test_a_node(tmp_path: Path) -> None:
    with node_on(tmp_path / "data"), dagbox.connect(tmp_path / "data") as db:
        use(db)
        assert list((tmp_path / "data").iterdir())
        assert open_to_others(tmp_path / "data") == []


def test_a_socket_that_is_listened_on_elsewhere(tmp_path: Path) -> None:
    """In a directory that everybody may enter, the mode of the socket alone keeps others out."""
    path = tmp_path / "open.sock"
    loop = BrokerLoop([f"ipc://{path}"])
    try:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert os.umask(0) == 0
    finally:
        loop.stop()
        loop.run()


def test_who_was_let_in_stays_so(tmp_path: Path) -> None:
    """A mode that somebody gave the data is kept by compaction, and is that of a lock file made anew."""
    data, lock = tmp_path / "data" / "data.mdb", tmp_path / "data" / "lock.mdb"
    with dagbox.open(tmp_path / "data") as db:
        use(db)
    data.chmod(0o640)
    lock.unlink()
    with dagbox.open(tmp_path / "data") as db:
        assert stat.S_IMODE(lock.stat().st_mode) == 0o640
        assert db.get("b", "k") == {"x": 1}
    compact(tmp_path / "data")
    assert stat.S_IMODE(data.stat().st_mode) == 0o640
