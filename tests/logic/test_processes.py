"""Facts and rules among real processes: a worker that is killed, a node that starts again, two programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import dagbox
from dagbox.errors import DagBoxError, DeadlineExceeded
from dagbox.store.maintenance import verify
from tests.runtime.nodes import ENVIRONMENT, node_on, processes, until

OTHER = """
import dagbox, sys
with dagbox.open(sys.argv[1]) as db:
    db.assert_fact("edge", "b", "c")
    db.add_rule("reach(X, Y) :- edge(X, Z), reach(Z, Y).")
"""


def test_rules_and_facts_of_another_process_are_seen_at_once(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data") as db:
        db.assert_fact("edge", "a", "b")
        db.add_rule("reach(X, Y) :- edge(X, Y).")
        assert db.query("reach(a, X)") == [{"X": "b"}]
        program = [sys.executable, "-c", OTHER, str(tmp_path / "data")]
        subprocess.run(program, env=ENVIRONMENT, check=True, timeout=30)
        assert db.query("reach(a, X)") == [{"X": "b"}, {"X": "c"}]
        assert len(db.rules()) == 2


def test_a_killed_worker_and_a_restarted_node_lose_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with node_on(data), dagbox.connect(data) as db:
        db.put("package", {"name": "b"}, key="b")
        db.assert_fact("edge", "a", "b")
        db.assert_fact("up", 0)
        db.add_rule("up(X + 1) :- up(X).")
        db.add_rule("derive named(key, data.name) from package.")
        failed: list[DagBoxError] = []

        def ask() -> None:
            try:
                with dagbox.connect(data) as other:
                    other.query("up(X)", timeout=4)
            except DagBoxError as error:
                failed.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        running = until(lambda: db.queries())
        assert running[0].goal == "up(X)"
        first = processes(db)["logic-1"]["pid"]
        os.kill(first, signal.SIGKILL)
        assert db.query("edge(a, X)", fetch={"X": "package"})[0]["X"].data == {"name": "b"}
        assert processes(db)["logic-1"]["pid"] != first
        asking.join(20)
        assert [isinstance(error, DeadlineExceeded) for error in failed] == [True]
    with node_on(data), dagbox.connect(data) as db:
        assert len(db.rules()) == 2
        assert db.query("named(X, b), edge(Y, X)") == [{"X": "b", "Y": "a"}]
        db.query("edge(a, X)", fetch={"X": "package"})
        trace = db.traces(limit=1)[0]
        assert [step.who for step in trace.timeline if step.what == "forwarded"] == ["reader"]
    report = verify(data)
    assert report.sound, report.problems
