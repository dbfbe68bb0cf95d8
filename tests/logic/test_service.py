"""The logic service as a worker's loop drives it: fairness, budgets, deadlines, taking back, several workers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dagbox.datalog.engine.budget import QueryProgress
from dagbox.errors import Cancelled, DagBoxError, InvalidArgument, QueryDeadline, QueryLimit, UnknownPredicate
from dagbox.protocol.names import shown_request
from dagbox.protocol.operations.logic import Explain, LogicOperation, Query, Why
from dagbox.protocol.values import pack, unpack
from dagbox.services.base import Failed, Forward, Outcome, Reply, Request
from dagbox.services.logic.jobs import Job, QueryLimits
from dagbox.services.logic.operations import LogicOperations
from dagbox.services.logic.peers import STALE_S, PeerQueries
from dagbox.services.logic.service import PER_CLIENT, LogicService
from dagbox.services.reader import Reader
from dagbox.store.base import AddRule, AssertFact, Put, Store
from dagbox.store.facts.stored import StoredFacts
from dagbox.store.memory import MemoryStore
from tests.logic.conftest import do

FOR_EVER = {"op": "query", "goal": "up(X)"}
SHORT = {"op": "query", "goal": "edge(a, X)"}


class Driven:
    """A service, and a thread's worth of driving."""

    def __init__(self, store: Store, limits: QueryLimits | None = None, peers: PeerQueries | None = None) -> None:
        self.operations = LogicOperations(store, limits, peers=peers)
        self.service = LogicService(self.operations)
        self.woken = threading.Event()
        self.service.wake = self.woken.set
        self.outcomes: list[Outcome] = []
        self.numbers = iter(range(1, 10**6))

    def send(self, body: Any, client: bytes = b"client-1", deadline_s: float | None = None) -> Request:
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        raw = body if isinstance(body, bytes) else pack(body)
        request = Request(client, next(self.numbers).to_bytes(8, "big"), raw, deadline)
        self.outcomes += self.service.handle([request], time.monotonic())
        return request

    def outcome(self, request: Request) -> Outcome:
        """Drive until the request has its outcome."""
        while True:
            for outcome in self.outcomes:
                if outcome.request is request:
                    return outcome
            assert self.woken.wait(10), "nothing happened"
            self.woken.clear()
            self.outcomes += self.service.tick(time.monotonic())

    def answer(self, request: Request) -> Any:
        outcome = self.outcome(request)
        if isinstance(outcome, Reply):
            return unpack(outcome.body)
        assert isinstance(outcome, Failed)
        return outcome.error

    def ask(self, body: Any, **how: Any) -> Any:
        return self.answer(self.send(body, **how))


@pytest.fixture
def data() -> MemoryStore:
    store = MemoryStore()
    do(store, *[AssertFact("edge", pair) for pair in (("a", "b"), ("b", "c"), ("c", "d"))])
    do(store, AssertFact("up", (0,)), AddRule("up(X + 1) :- up(X)."))
    do(store, AddRule("reach(X, Y) :- edge(X, Y)."), AddRule("reach(X, Y) :- edge(X, Z), reach(Z, Y)."))
    do(store, Put("node", "b", pack({"name": "b"})))
    return store


@pytest.fixture
def logic(data: MemoryStore) -> Iterator[Driven]:
    driven = Driven(data)
    yield driven
    driven.service.close()


def test_an_answer(logic: Driven) -> None:
    assert logic.ask(SHORT) == {"columns": ["X"], "rows": [["b"]], "more": False}
    assert logic.service.report() == {"logic": {"running": 0, "queries": 1, "waiting": 0}}


def test_an_array_is_answered_by_an_array(logic: Driven) -> None:
    one, wrong, two = logic.ask([SHORT, {"op": "query", "goal": "nobody(X)"}, {"op": "rules"}])
    assert one["rows"] == [["b"]]
    assert isinstance(wrong, UnknownPredicate)
    assert len(two) == 3


def test_a_fetch_is_forwarded_to_the_reader(logic: Driven, data: MemoryStore) -> None:
    body = [SHORT | {"fetch": {"X": {"bucket": "node"}}}, {"op": "query", "goal": "nobody(X)"}, SHORT]
    outcome = logic.outcome(logic.send(body))
    assert isinstance(outcome, Forward)
    assert outcome.service == "reader"
    (answered,) = Reader(data).handle([Request(b"client-1", b"request1", outcome.body)], 0.0)
    assert isinstance(answered, Reply)
    rows, wrong, plain = unpack(answered.body)
    assert rows["nodes"]["X"]["b"]["found"] is True
    assert isinstance(wrong, UnknownPredicate)
    assert plain["rows"] == [["b"]]


def test_one_clients_runaway_queries_do_not_hold_up_others(logic: Driven) -> None:
    endless = [logic.send(FOR_EVER, client=b"client-1") for _ in range(3 * PER_CLIENT)]
    assert logic.ask(SHORT, client=b"client-2")["rows"] == [["b"]]
    running = logic.ask({"op": "running"}, client=b"client-3")
    assert len(running) == PER_CLIENT
    assert {query["goal"] for query in running} <= {"up(X)", ""}
    for request in endless:
        logic.outcomes += logic.service.cancel(request.key, time.monotonic())
    assert all(isinstance(logic.answer(request), Cancelled) for request in endless)
    assert logic.ask({"op": "running"}) == []


def test_a_query_is_stopped_by_its_id(logic: Driven) -> None:
    endless = logic.send(FOR_EVER)
    assert logic.ask({"op": "stop", "id": shown_request(endless.key)}, client=b"operator") is True
    assert isinstance(logic.answer(endless), Cancelled)
    assert logic.ask({"op": "stop", "id": shown_request(endless.key)}) is False


def test_the_requests_deadline_ends_a_query_and_tells_how_far_it_came(logic: Driven) -> None:
    error = logic.ask(FOR_EVER, deadline_s=0.3)
    assert isinstance(error, QueryDeadline)
    assert error.derived > 0
    error = logic.ask(FOR_EVER | {"timeout_ms": 100}, deadline_s=30)
    assert isinstance(error, QueryDeadline)
    assert error.timeout_ms == 100


@pytest.mark.parametrize("make", [Query, Why, Explain])
@pytest.mark.parametrize(
    "goal",
    ["edge(a, X)", "reach(a, X)", ", ".join(f"edge(X{n}, Y{n})" for n in range(500))],
    ids=["stored", "rules", "long"],
)
def test_a_job_that_is_over_does_nothing_more(
    data: MemoryStore, goal: str, make: Callable[[str], LogicOperation]
) -> None:
    """Not even parse and plan."""
    over, stopped = Job("over", ends=time.monotonic() - 1), Job("stopped")
    stopped.stop()
    with pytest.raises(QueryDeadline):
        LogicOperations(data).run(make(goal), over)
    with pytest.raises(Cancelled):
        LogicOperations(data).run(make(goal), stopped)


@pytest.mark.parametrize(
    ("limits", "goal", "limit"),
    [
        (QueryLimits(rows=3), "reach(X, Y)", "rows of the answer"),
        (QueryLimits(bytes=100_000), "up(X)", "bytes of derived facts"),
        (QueryLimits(read=20_000), "up(X)", "rows read"),
    ],
)
def test_budgets(data: MemoryStore, limits: QueryLimits, goal: str, limit: str) -> None:
    driven = Driven(data, limits)
    try:
        error = driven.ask({"op": "query", "goal": goal})
        assert isinstance(error, QueryLimit)
        assert error.limit == limit
        assert error.value > error.maximum
        assert driven.ask({"op": "query", "goal": "edge(X, Y)", "limit": 2})["more"] is True
    finally:
        driven.service.close()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xc1", "not one MessagePack value"),
        (7, "an array of operations or one map"),
        ({"op": "nonsense"}, "logic has no operation"),
        ({"op": ["query"]}, "logic has no operation"),
        ({"op": "query"}, "needs the field 'goal'"),
        ({"op": "query", "goal": 7}, "a goal is text"),
        ({"op": "query", "goal": "edge(X, Y)", "limit": -1}, "limit"),
        ({"op": "query", "goal": "edge(X, Y)", "params": [1]}, "params is a map"),
        ({"op": "query", "goal": "edge(X, Y)", "params": {1: 2}}, "params is a map"),
        ({"op": "query", "goal": "edge(X, Y)", "order": "Z"}, "cannot order"),
        ({"op": "query", "goal": "edge(X, Y)", "order": 7}, "order"),
        ({"op": "query", "goal": "edge(X, Y)", "timeout_ms": 0}, "timeout_ms"),
        ({"op": "query", "goal": "edge(X, Y)", "fetch": [1]}, "fetch is a map"),
        ({"op": "facts", "after": b"nonsense"}, "'after'"),
        ({"op": "facts", "derived": 1}, "'derived'"),
        ({"op": "stop"}, "needs the field 'id'"),
        ({"op": "running", "more": 1}, "no field"),
    ],
)
def test_bad_requests(logic: Driven, body: Any, words: str) -> None:
    error = logic.ask(body)
    assert isinstance(error, InvalidArgument)
    assert words in str(error)
    assert logic.ask(SHORT)["rows"] == [["b"]]


def test_reading_many_stored_facts_is_ended_too(data: MemoryStore) -> None:
    do(data, *[AssertFact("up", (number,)) for number in range(60_000)])
    for goal in ("up(X), X < 0", "up(X)"):
        job = Job("job")
        job.stop()
        with pytest.raises(Cancelled):
            LogicOperations(data).run(Query(goal), job)
    check = job.budget(QueryLimits(), None).check
    assert check is not None
    facts = StoredFacts(data.snapshot(), partial(check, QueryProgress(0, 0)))
    with pytest.raises(Cancelled):
        facts.groups("up", (0,))


def test_changed_rules_are_seen_by_the_next_query(logic: Driven, data: MemoryStore) -> None:
    assert isinstance(logic.ask({"op": "query", "goal": "twice(X)"}), UnknownPredicate)
    (rule,) = do(data, AddRule("twice(X) :- edge(X, Y), edge(Y, _)."))
    assert logic.ask({"op": "query", "goal": "twice(X)"})["rows"] == [["a"], ["b"]]
    do(data, AssertFact("edge", ("d", "a")))
    assert len(logic.ask({"op": "query", "goal": "twice(X)"})["rows"]) == 4
    listed = logic.ask({"op": "predicates"})
    told = {each["predicate"]: (each["arity"], each["facts"], each["rules"]) for each in listed}
    assert told["twice"] == (1, 0, 1)
    assert told["edge"] == (2, 4, 0)
    assert rule in [each["id"] for each in logic.ask({"op": "rules"})]


def test_workers_see_and_stop_each_others_queries(data: MemoryStore, tmp_path: Path) -> None:
    one, two = Driven(data, peers=PeerQueries(tmp_path / "logic")), Driven(data, peers=PeerQueries(tmp_path / "logic"))
    try:
        endless = one.send(FOR_EVER)
        seen: list[Any] = []
        while not seen:
            one.outcomes += one.service.tick(time.monotonic())
            seen = two.ask({"op": "running"})
        assert (seen[0]["id"], seen[0]["goal"]) == (shown_request(endless.key), "up(X)")
        assert two.ask({"op": "stop", "id": shown_request(endless.key)}) is True
        while not any(outcome.request is endless for outcome in one.outcomes):
            one.outcomes += one.service.tick(time.monotonic())
        assert isinstance(one.answer(endless), Cancelled)
        while two.ask({"op": "running"}):
            one.outcomes += one.service.tick(time.monotonic())
        assert two.ask({"op": "stop", "id": shown_request(endless.key)}) is False
    finally:
        one.service.close()
        two.service.close()
    assert [path.suffix for path in (tmp_path / "logic").iterdir() if path.suffix != ".stop"] == []


def test_what_a_worker_left_behind_is_not_listed(tmp_path: Path) -> None:
    gone, here = PeerQueries(tmp_path / "logic"), PeerQueries(tmp_path / "logic")
    gone.show([{"id": "q1", "goal": "up(X)"}])
    assert here.others() == [{"id": "q1", "goal": "up(X)"}]
    (left,) = (tmp_path / "logic").iterdir()
    os.utime(left, (0, time.time() - STALE_S - 1))
    assert here.others() == []
    assert list((tmp_path / "logic").iterdir()) == []
    left.write_bytes(b"\xc1 nonsense")
    assert here.others() == []


def test_a_board_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "logic").write_text("a file where the directory should be")
    peers = PeerQueries(tmp_path / "logic")
    peers.show([{"id": "q1"}])
    assert (peers.others(), peers.ask_to_stop("q1"), peers.take_stops(["q1"])) == ([], False, [])


def test_closing_stops_what_runs(data: MemoryStore) -> None:
    driven = Driven(data)
    driven.send(FOR_EVER)
    driven.service.close()
    (outcome,) = driven.service.tick(time.monotonic())
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Cancelled | DagBoxError)
