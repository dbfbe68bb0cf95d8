"""An exception of a signal handler at any line of a call: afterwards the next call works, in every thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dagbox
from dagbox.transport import core, remote, sockets, wake
from tests.interrupts import interruption_at, on_a_thread

FILES = frozenset(str(module.__file__) for module in (core, remote, sockets, wake))
"""Where the exception comes: the files that hold the roles of threads, and what they call."""


def interrupted_at(number: int, act: Callable[[], object]) -> bool:
    """Do something and raise at the n-th line of `FILES`; False if it has fewer lines than that."""
    return interruption_at(number, FILES, act) is not None


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    with dagbox.open(tmp_path, serve=True, durability="process") as db:
        db.put("user", 1, key="ada")
        yield tmp_path


@on_a_thread
def test_a_call_that_is_interrupted_at_any_line_leaves_no_role_behind(served: Path) -> None:
    with dagbox.connect(served, timeout=5, direct=False) as db:
        number = 0
        while interrupted_at(number, lambda: db.get("user", "ada")):
            assert db.get("user", "ada") == 1, number
            link = db._transport._link  # type: ignore[attr-defined]
            assert (link._leader, link._followers, link._waiting, link._interrupted) == (None, {}, {}, False), number
            number += 1
    assert number > 60


@on_a_thread
def test_threads_that_follow_get_their_answers_when_the_leader_is_interrupted(served: Path) -> None:
    with dagbox.connect(served, timeout=5, direct=False) as db:
        ended: list[object] = []
        stop = threading.Event()

        def others() -> None:
            while not stop.is_set():
                try:
                    ended.append(db.get("user", "ada"))
                except dagbox.DagBoxError as error:
                    ended.append(error)

        threads = [threading.Thread(target=others) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(120):
            interrupted_at(number, lambda: db.get("user", "ada"))
            before = len(ended)
            while len(ended) < before + 3 and all(thread.is_alive() for thread in threads):
                assert db.get("user", "ada") == 1
        stop.set()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        assert [each for each in ended if each != 1] == []


@pytest.mark.parametrize("number", range(0, 90, 6))
@on_a_thread
def test_a_client_that_is_interrupted_can_be_closed(served: Path, number: int) -> None:
    db = dagbox.connect(served, timeout=5, direct=False)
    interrupted_at(number, lambda: db.get("user", "ada"))
    db.close()
    with pytest.raises(dagbox.DagBoxError, match="closed"):
        db.get("user", "ada")


def test_what_gets_the_parts_of_an_answer_may_call_the_same_database(served: Path) -> None:
    @dagbox.service("count")
    def count(upto: int, request: dagbox.ServiceRequest) -> str:
        for number in range(upto):
            request.partial(number)
        return "counted"

    stop = threading.Event()
    server = threading.Thread(target=lambda: dagbox.serve(count, connect=served, stop=stop))
    server.start()
    try:
        with dagbox.connect(served, timeout=10) as db:
            found: list[object] = []
            assert db.call("count", 3, on_part=lambda part: found.append((part, db.get("user", "ada")))) == "counted"
            assert found == [(0, 1), (1, 1), (2, 1)]
    finally:
        stop.set()
        server.join()
