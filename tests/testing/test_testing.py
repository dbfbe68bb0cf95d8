"""What `dagbox.testing` promises: time moves only when told, a node leaves nothing, its page is true."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import dagbox
from dagbox import testing


def test_time_stands_still_and_never_goes_back() -> None:
    clock = testing.VirtualClock()
    before = clock.wall(), clock.monotonic()
    assert (clock.wall(), clock.monotonic()) == before
    clock.advance(2.5)
    assert (clock.wall(), clock.monotonic()) == (before[0] + 2.5, before[1] + 2.5)
    with pytest.raises(dagbox.InvalidArgument, match="advance"):
        clock.advance(-1)


def test_a_wait_ends_with_the_lease_that_is_in_its_way() -> None:
    clock = testing.VirtualClock()
    with testing.database(clock) as db:
        db.lock("report", ttl=10, keepalive=False).acquire()
        with db.lock("report", wait=60):
            assert 10 <= clock.monotonic() < 11


def test_a_node_serves_and_leaves_no_thread_and_no_directory() -> None:
    @dagbox.service("twice")
    def twice(payload: int, request: dagbox.ServiceRequest) -> int:
        return 2 * payload

    before = set(threading.enumerate())
    with testing.node() as node:
        node.serve(twice)
        with node.connect() as db:
            assert db.call("twice", 21) == 42
        with pytest.raises(dagbox.InvalidArgument, match="service"):
            node.serve()
        directory = Path(node.directory)
        assert directory.is_dir()
    assert not directory.parent.exists()
    assert set(threading.enumerate()) <= before


def test_a_node_keeps_a_directory_that_it_was_given(tmp_path: Path) -> None:
    with testing.node(tmp_path / "data") as node, node.connect() as db:
        db.put("user", {"name": "Ada"}, key="ada")
    with dagbox.open(tmp_path / "data") as db:
        assert db.get("user", "ada") == {"name": "Ada"}
