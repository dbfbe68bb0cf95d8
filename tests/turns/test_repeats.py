"""What is asked again is done once, whether it is one operation or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dagbox.embedded.directory_locks import DirectoryLocks
from dagbox.embedded.locks import KeptElsewhere, LocalLocks
from dagbox.embedded.turn import Turn
from dagbox.errors import Locked, WorkerLost
from dagbox.protocol.operations.locks import Acquire, ListLocks, Release
from dagbox.protocol.values import pack
from dagbox.transport.base import Packed


class GoingNode:
    """A node that does what it is asked, and is gone before it answers."""

    gone = False

    def __init__(self, local: LocalLocks) -> None:
        self.do = local.call

    def call(self, body: Any, timeout_s: float) -> Any:
        self.do(body, timeout_s, Turn())
        raise WorkerLost("lock", 1)

    def close(self) -> None:
        self.gone = True


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = DirectoryLocks(str(tmp_path), lambda fences: None)
    node, call, calls = GoingNode(made.local), made.local.call, list[Any]()

    def elsewhere_once(body: Any, timeout_s: float, turn: Turn) -> Any:
        calls.append(body)
        if len(calls) == 1:
            raise KeptElsewhere
        return call(body, timeout_s, turn)

    def lose() -> list[Any]:
        calls.clear()
        return calls

    lose().append("nothing is lost before that")
    monkeypatch.setattr(made.local, "call", elsewhere_once)
    monkeypatch.setattr(made, "_open_node", lambda: node)
    yield made, lose
    made.close()


@pytest.mark.parametrize("form", ["bare", "several", "packed"])
def test_a_lease_is_had_and_given_back_once(locks: Any, form: str) -> None:
    def ask(operation: Any) -> Any:
        lose()
        body = {"bare": operation, "several": [operation], "packed": Packed(pack([operation.to_wire()]))}[form]
        answer = made.call(body, 5.0, Turn())
        return answer if form == "bare" else answer[0]

    made, lose = locks
    lease = ask(Acquire(("k",)))
    assert lease["token"] == 1
    assert ask(Release(lease["token"])) is True
    assert made.call(ListLocks(), 5.0, Turn()) == []


def test_a_wait_in_a_list_goes_on_where_it_was(locks: Any) -> None:
    made, lose = locks
    made.call(Acquire(("k",)), 5.0, Turn())
    bodies = lose()
    (answer,) = made.call([Acquire(("k",), wait_ms=300)], 5.0, Turn())
    assert isinstance(answer, Locked)
    assert [body[0].wait_ms for body in bodies] == [300, 0]
