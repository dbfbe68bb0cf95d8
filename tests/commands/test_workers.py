"""`dagbox restart`, `drain` and `add`, and the same in the shell: consequences are told, and each has a way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dagbox
from dagbox.errors import InvalidArgument, Refused
from dagbox.problems import acts
from tests.commands.conftest import Run
from tests.runtime.nodes import node_on, until


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("node") / "data"
    with node_on(directory, readers=1):
        yield directory


def names(db: dagbox.Database) -> set[str]:
    return {worker.name for worker in db.workers() if worker.state == "live"}


@pytest.mark.parametrize("shell", [False, True], ids=["command", "shell"])
def test_the_last_writer_is_drained_and_brought_back(run: Run, node: Path, shell: bool) -> None:
    def do(*words: str) -> tuple[int, str]:
        ended = run("shell", node, "-c", " ".join(words)) if shell else run(*words, "--at", node)
        return ended.status, ended.err + ended.out

    with dagbox.connect(node, direct=False) as db:
        until(lambda: {"writer", "reader-1"} <= names(db))
        status, told = do("drain", "writer")
        assert status
        assert "It is the last worker of writer. From then on requests to writer wait" in told
        assert "add writer" in told
        assert ".." not in told
        assert ".:" not in told
        assert "writer" in names(db)

        assert do("drain", "writer", "--yes")[0] == 0
        until(lambda: "writer" not in {worker.name for worker in db.workers()})
        assert do("add", "writer")[0] == 0
        db.put("user", {"name": "ada"}, key="ada")
        status, told = do("add", "writer")
        assert status
        assert "writer is live: restart starts it anew" in told


def test_a_restart_gives_a_worker_another_process(run: Run, node: Path) -> None:
    with dagbox.connect(node) as db:
        before = until(lambda: {worker.name: worker.pid for worker in db.workers()}.get("lock"))
        assert "last worker of lock. Until it is back" in run("restart", "lock", "--at", node).err
        assert run("restart", "lock", "--yes", "--at", node).err == "lock restarts\n"
        until(
            lambda: (
                {worker.name: worker.pid for worker in db.workers() if worker.state == "live"}.get("lock", before)
                != before
            )
        )


def test_one_more_reader_is_added(run: Run, node: Path) -> None:
    added = run("add", "reader", "--at", node)
    assert (added.status, added.err) == (0, "reader-2 starts\n")
    with dagbox.connect(node) as db:
        until(lambda: "reader-2" in names(db))
        assert "1 other worker of reader does its work" in run("drain", "reader-2", "--at", node).err


@pytest.mark.parametrize(
    ("command", "worker", "words"),
    [
        ("drain", "nobody", "no worker 'nobody' in this node: there are"),
        ("restart", "nobody", "no process 'nobody' in this node: there are"),
        ("add", "nobody", "no process 'nobody' in this node: there are"),
        ("drain", "node", "without it nothing could be restarted"),
        ("restart", "node", "restart the node instead"),
    ],
)
def test_what_cannot_be_done_is_refused(run: Run, node: Path, command: str, worker: str, words: str) -> None:
    """Also to who was not asked."""
    line = [command, worker, *([] if command == "add" else ["--yes"])]
    for ended in (run(*line, "--at", node), run("shell", node, "-c", " ".join(line))):
        assert ended.status == 1
        assert words in ended.err
        assert ended.err.count("\n") == 1


def test_a_directory_without_a_node_has_no_workers_to_command(run: Run, tmp_path: Path) -> None:
    assert run("put", "user/ada", "1", "--at", tmp_path / "data").status == 0
    for words in (("restart", "writer", "--yes"), ("drain", "writer", "--yes"), ("add", "writer")):
        ended = run(*words, "--at", tmp_path / "data")
        assert ended.status == 1
        assert "fault of dagbox" not in ended.err
        assert ended.err.count("\n") == 1


def worker(name: str, service: str, **more: object) -> dict[str, object]:
    return {"id": name, "name": name, "service": service, "state": "live", "in_use": 0, "repeatable": True} | more


def test_consequences_are_those_of_the_whole_node() -> None:
    node = acts.Node(
        [worker("w", "writer", in_use=2), worker("gone", "writer", state="dead"), worker("node", "node")],
        [{"name": "writer", "rate": 40.0, "waiting": 3}],
    )
    told = acts.drain(node, "w", "u")
    assert "finishes the 2 it has in hand" in told
    assert "It is the last worker of writer. From then on requests to writer (now 40/s, 3 queued) wait" in told
    assert "2 requests in hand" in acts.restart(node, "w")
    for name in ("gone", "node"):
        with pytest.raises(Refused):
            acts.drain(node, name, "u")
    with pytest.raises(InvalidArgument, match="there are w, gone, node"):
        acts.drain(node, "nobody", "u")
    assert acts.start(node, "gone") == {"op": "restart", "worker": "gone"}
