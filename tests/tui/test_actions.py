"""What an operator is told before an action: from the whole model, not from one row."""

from __future__ import annotations

from typing import Any

import pytest

from dagbox.tui import actions
from dagbox.tui.actions import Action, Offer, Refusal
from dagbox.tui.polling.model import NodeModel
from tests.tui import sample


def model(*workers: dict[str, Any], services: list[dict[str, Any]] | None = None, **parts: Any) -> NodeModel:
    """A node with these workers."""
    found = NodeModel()
    found.take(sample.poll(0) | {"workers": list(workers), **({"services": services} if services else {})} | parts)
    return found


def worker(name: str, service: str, **more: Any) -> dict[str, Any]:
    return sample.worker(name, service, 4, **more)


def told(offer: Offer) -> str:
    assert isinstance(offer, Action), offer
    return f"{offer.question} {offer.reason}"


def refused(offer: Offer) -> str:
    assert isinstance(offer, Refusal), offer
    return offer.reason


WRITER = worker("writer", "writer", in_use=0)
READERS = [worker("reader-1", "reader"), worker("reader-2", "reader")]


def test_draining_the_last_worker_says_that_requests_will_fail_and_how_to_undo_it() -> None:
    busy = sample.service("writer", 4, 0.2, rate=340.0, waiting=12)
    found = told(actions.drain(model(WRITER, *READERS, services=[busy]), "writer"))
    assert "the last worker of writer" in found
    assert "340/s, 12 queued" in found
    assert "fail at their deadline" in found
    assert "bring it back: u" in found


def test_draining_one_of_several_says_who_does_its_work() -> None:
    found = told(actions.drain(model(WRITER, *READERS), "reader-1"))
    assert "1 other worker of reader does its work" in found
    assert "last worker" not in found


@pytest.mark.parametrize("state", ["dead", "draining"])
def test_workers_that_take_no_requests_are_no_help(state: str) -> None:
    found = told(actions.drain(model(READERS[0], worker("reader-2", "reader", state=state)), "reader-1"))
    assert "the last worker of reader" in found


@pytest.mark.parametrize("act", [actions.drain, actions.restart, actions.remove_worker])
def test_the_supervisor_is_not_taken_away(act: Any) -> None:
    assert "supervisor" in refused(act(model(worker("node", "node"), WRITER), "node"))


def test_the_last_worker_is_not_removed_for_good() -> None:
    assert "nothing would bring it back" in refused(actions.remove_worker(model(WRITER, *READERS), "writer"))
    assert "a adds a reader" in told(actions.remove_worker(model(WRITER, *READERS), "reader-1"))
    assert "the last worker of reader" in told(actions.remove_worker(model(WRITER, READERS[0]), "reader-1"))
    logic = [worker("logic-1", "logic"), worker("logic-2", "logic")]
    assert "Only a restart of the node" in told(actions.remove_worker(model(*logic), "logic-1"))


@pytest.mark.parametrize(
    ("repeatable", "in_use", "expected"),
    [
        (True, 3, "done again by another worker"),
        (False, 3, "failed with worker_lost"),
        (False, 1, "1 request in hand"),
        (True, 0, "nothing in hand"),
    ],
)
def test_a_restart_says_what_becomes_of_the_requests_in_hand(repeatable: bool, in_use: int, expected: str) -> None:
    one = worker("thumb", "thumbnail", repeatable=repeatable, in_use=in_use)
    assert expected in told(actions.restart(model(one), "thumb"))


def test_a_worker_that_is_gone_can_be_started_again_but_not_drained() -> None:
    gone = model(WRITER)
    assert "again" in told(actions.restart(gone, "reader-9"))
    for act in (actions.drain, actions.forget, actions.remove_worker):
        assert "not there any more" in refused(act(gone, "reader-9"))


def test_only_dead_workers_are_forgotten() -> None:
    assert "is live" in refused(actions.forget(model(WRITER), "writer"))
    assert "joins again" in told(actions.forget(model(worker("writer", "writer", state="dead")), "writer"))


def test_a_resume_says_that_nobody_serves_the_queue() -> None:
    service = sample.service("echo", 4, 0.2, live=0, waiting=7, paused=True)
    assert "No worker serves it now" in told(actions.resume(model(WRITER, services=[service]), "echo"))


def lock(key: str, owner: str, token: int, waiting: int = 0) -> dict[str, Any]:
    line = [{"owner": f"w{n}", "waited_ms": 5.0, "shared": False} for n in range(waiting)]
    return {
        "key": key,
        "owner": owner,
        "token": token,
        "shared": True,
        "left_ms": 900.0,
        "ttl_ms": 1000,
        "waiting": line,
    }


def test_releasing_a_lock_names_every_holder_and_the_line() -> None:
    found = model(WRITER, locks=[lock("a", "ann", 3, waiting=2), lock("a", "bob", 4), lock("b", "cy", 5)])
    text = told(actions.release(found, "a"))
    assert "refused once the next holder has the lock" in text
    assert "ann and 1 other holder" in text
    assert "2 waiters" in text
    assert "Nobody waits" in told(actions.release(found, "b"))
    assert "held by nobody" in refused(actions.release(model(WRITER, locks=[lock("a", "", 0, 1)]), "a"))


def test_what_is_gone_by_now_is_refused() -> None:
    found = model(WRITER, dead_letters=[])
    for offer in (
        actions.retry_letter(found, 99),
        actions.drop_letter(found, 99),
        actions.drop_all_letters(found),
        actions.let_go(found, "x-1"),
        actions.cancel(found, "x-1"),
        actions.unset_break(found, 99),
        actions.pause(found, "nobody"),
        actions.resume(found, "nobody"),
        actions.set_break(found, "", "", "", 5.0),
    ):
        assert refused(offer)


def test_a_cancel_says_that_work_may_have_been_done() -> None:
    one = sample.under_way(1, "writer", "writer", 5.0, {}) | {"id": "x-1", "state": "given"}
    assert "A worker has it" in told(actions.cancel(model(WRITER, open=[one]), "x-1"))
    assert "A worker has it" not in told(actions.cancel(model(WRITER, open=[one | {"state": "queued"}]), "x-1"))
