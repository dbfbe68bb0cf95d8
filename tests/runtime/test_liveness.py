"""Components that hang: found by their silence, replaced by the node."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import dagbox
from dagbox.errors import DagBoxError
from dagbox.runtime.liveness import START_S, Liveness
from tests.runtime.nodes import node_on, processes, until

RUNNING = {"broker": 1, "writer": 2}
BOTH = {("writer", 2)}
Looks = list[tuple[float, set[tuple[str, int]] | None]]


def hung(looks: Looks, running: dict[str, int] | None = None) -> list[list[str]]:
    """What hangs at each look: (seconds, what the broker takes for alive)."""
    liveness = Liveness(10.0, longest_gap_s=3.0)
    return [liveness.observe(running or RUNNING, alive, 100.0 + at) for at, alive in looks]


def test_a_worker_that_falls_silent_hangs_after_a_while() -> None:
    looks: Looks = [(0.0, BOTH), *[(float(n), set()) for n in range(2, 14, 2)]]
    assert hung(looks) == [[], [], [], [], [], ["writer"], ["writer"]]


def test_a_broker_that_does_not_answer_hangs_and_the_workers_do_not() -> None:
    looks: Looks = [(0.0, BOTH), *[(float(n), None) for n in range(2, 14, 2)]]
    assert hung(looks)[-2:] == [["broker"], ["broker"]]


def test_a_broker_that_is_new_gives_the_workers_their_time() -> None:
    looks: Looks = [(0.0, BOTH), *[(float(n), None) for n in range(2, 10, 2)], (10.0, set()), (12.0, set())]
    assert hung(looks) == [[]] * 7


def test_a_new_process_has_its_time_to_start_even_if_the_one_before_is_still_listed() -> None:
    liveness = Liveness(10.0, longest_gap_s=3.0)
    liveness.observe(RUNNING, BOTH, 100.0)
    again = {"broker": 1, "writer": 3}
    found = [liveness.observe(again, BOTH, 102.0 + 2 * n) for n in range(int(START_S))]
    assert found[int(START_S / 2) - 1] == []
    assert found[int(START_S / 2)] == ["writer"]


def test_a_node_is_ready_once_each_component_was_heard_since_it_started() -> None:
    liveness = Liveness(10.0, longest_gap_s=3.0)
    looks: list[tuple[dict[str, int], set[tuple[str, int]] | None]] = [
        (RUNNING, None),
        (RUNNING, set()),
        (RUNNING, BOTH),
        (RUNNING, None),
        ({"broker": 1, "writer": 3}, BOTH),
    ]
    heard = []
    for n, (running, alive) in enumerate(looks):
        liveness.observe(running, alive, 100.0 + n)
        heard.append(liveness.heard)
    assert heard == [set(), {"broker"}, {"broker", "writer"}, {"broker", "writer"}, {"broker"}]


def test_time_in_which_the_watcher_stood_still_does_not_count() -> None:
    assert hung([(0.0, BOTH), (2.0, set()), (50.0, set()), (52.0, set()), (59.0, None), (60.0, set())]) == [[]] * 6


@pytest.mark.parametrize("name", ["writer", "broker", "reader-1", "lock"])
def test_a_component_that_hangs_is_replaced_and_the_node_serves_again(tmp_path: Path, name: str) -> None:
    # In less, on a machine with other work, one that runs may be taken for one that hangs.
    with node_on(tmp_path, readers=1, hung_s=2.5) as node, dagbox.connect(tmp_path) as db:
        db.put("user", {"n": 1}, key="ada")
        before = until(lambda: processes(db))
        os.kill(before[name]["pid"], signal.SIGSTOP)
        node.wait_for(f"{name} gives no sign of life")

        def serves() -> bool:
            try:
                db.put("user", {"n": 2}, key="ada")
                with db.lock("a", ttl=5):
                    return bool(db.get("user", "ada") == {"n": 2})
            except DagBoxError:
                return False

        until(serves)
        after = until(lambda: processes(db))
        assert after[name]["pid"] != before[name]["pid"]
        assert after[name]["last_exit"] == -signal.SIGKILL
        others = before.keys() - {name}
        assert {other: after[other]["pid"] for other in others} == {other: before[other]["pid"] for other in others}
