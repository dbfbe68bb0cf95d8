"""Calls of signal handlers are answered or refused, and what they interrupted goes on; nothing hangs."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import dagbox
from dagbox.errors import Reentered

from ..effort import Tried, number, torture

STEP = number("DAGBOX_REENTRY_STEP", 17)
"""A handler comes at each so many calls of functions."""
PACKAGE = str(Path(dagbox.__file__).parent)
PATIENCE_S = 20.0
Act = Callable[[Any], object]


def lock(key: str) -> Act:
    def act(db: Any) -> None:
        with db.lock(key, ttl=30, wait=0):
            db.get("b", "k")

    return act


ACTS: dict[str, Act] = {
    "put": lambda db: db.put("b", 1, key="k"),
    "get": lambda db: db.get("b", "k"),
    "scan": lambda db: list(db.scan("b")),
    "query": lambda db: db.query("p(X)"),
    "fact": lambda db: db.assert_fact("q", "b"),
    "buckets": lambda db: db.buckets(),
    "lock": lock("main"),
}
HANDLERS: dict[str, Act] = {**ACTS, "lock": lock("handler")}
NODES = ("memory", "directory", "connected", "direct")


@contextmanager
def opened(kind: str, path: Path) -> Iterator[Any]:
    if kind == "memory":
        with dagbox.open(":memory:") as db:
            yield db
    elif kind == "directory":
        with dagbox.open(path, durability="process") as db:
            yield db
    else:
        with (
            dagbox.open(path, durability="process", serve=True),
            dagbox.connect(path, direct=kind == "direct") as db,
        ):
            yield db


class Interruption:
    """Does something else at the n-th call of a function of DagBox, as a signal handler does, and once only."""

    def __init__(self, at: int, handler: Callable[[], object]) -> None:
        self.left = at
        self.handler = handler
        self.outcome: str | None = None

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event not in ("call", "c_return") or not frame.f_code.co_filename.startswith(PACKAGE):
            return
        self.left -= 1
        if self.left >= 0:
            return
        sys.setprofile(None)
        del argument  # the method that was called: a kept error would keep its object
        try:
            self.handler()
            self.outcome = "done"
        except Reentered:
            self.outcome = "refused"

    def during(self, act: Callable[[], object]) -> bool:
        """Do something; whether the handler came.

        Without the collector: CPython 3.11 makes a frame object for each event, and a finalizer that runs while it is
        made, and makes calls that are profiled, leaves that frame's stack in disorder.
        """
        gc.disable()
        sys.setprofile(self._profile)
        try:
            act()
        finally:
            sys.setprofile(None)
            gc.enable()
        return self.outcome is not None


def in_time(work: Callable[[], None], doing: list[str]) -> None:
    """Do all on a thread of its own; fails with what it was doing if it does not end."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (raised again below)
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    seen = ""
    while thread.is_alive():
        thread.join(PATIENCE_S)
        assert not thread.is_alive() or doing[-1] != seen, f"it hangs: {seen}"
        seen = doing[-1]
    if failed:
        raise AssertionError(f"while {doing[-1]}") from failed[0]


@torture
@pytest.mark.parametrize("kind", NODES)
@pytest.mark.parametrize("name", ACTS)
def test_a_call_of_a_signal_handler_is_answered_or_refused(kind: str, name: str, tmp_path: Path, tried: Tried) -> None:
    outcomes: Counter[str] = Counter()
    doing = ["opening"]

    def work() -> None:
        with opened(kind, tmp_path) as db:
            db.add_rule("p(X) :- q(X).")
            db.assert_fact("q", "a")
            for act in (*ACTS.values(), *HANDLERS.values()):
                act(db)  # so that nothing is imported later
            for number_, (handler_name, handler) in enumerate(HANDLERS.items()):
                at = number_  # each handler at other places
                while True:
                    doing.append(f"{handler_name} during {name} at {at}")
                    interruption = Interruption(at, partial(handler, db))
                    if not interruption.during(lambda: ACTS[name](db)):
                        break
                    outcomes[str(interruption.outcome)] += 1
                    at += STEP
            doing.append("using it afterwards")
            for act in (*ACTS.values(), *HANDLERS.values()):
                act(db)
            doing.append("closing")

    in_time(work, doing)
    tried("calls of signal handlers", **outcomes)
    assert outcomes["done"] > 5


@pytest.mark.parametrize("kind", NODES)
@pytest.mark.parametrize("name", ["put", "get", "query", "lock"])
def test_a_signal_handler_that_closes_is_obeyed_or_refused(kind: str, name: str, tmp_path: Path) -> None:
    """Once it was obeyed, the call that it interrupted has its answer or an error, and closing again is no error."""
    doing = ["opening"]

    def work() -> None:
        for at in range(0, 400, 23):
            path = tmp_path / str(at)
            with opened(kind, path) as db:
                db.add_rule("p(X) :- q(X).")
                for act in ACTS.values():
                    act(db)
                doing.append(f"closing during {name} at {at}")
                interruption = Interruption(at, db.close)
                try:
                    interruption.during(lambda: ACTS[name](db))
                except dagbox.DagBoxError:
                    assert interruption.outcome == "done"
                if interruption.outcome == "refused":
                    ACTS["put"](db)
                doing.append("closing")

    in_time(work, doing)
