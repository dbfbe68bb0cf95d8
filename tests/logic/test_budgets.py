"""Budgets hold in every phase: what is stopped stops, in reading and checking rules as in running them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from dagbox.datalog import Engine, MemoryFacts, Program
from dagbox.datalog.engine.budget import Budget
from dagbox.datalog.language.parser import parse_program, parse_rule
from dagbox.datalog.proofs.explain import explain
from dagbox.datalog.proofs.why import why, why_not
from dagbox.errors import Cancelled, QueryDeadline, TypeMismatch
from dagbox.protocol.operations.logic import Explain, ListFacts, ListPredicates, ListRules, LogicOperation, Query, Why
from dagbox.protocol.values import pack
from dagbox.services.logic import jobs
from dagbox.services.logic.jobs import Job, QueryLimits
from dagbox.services.logic.operations import LogicOperations
from dagbox.services.logic.rules import RuleBook
from dagbox.store.base import AddRule, AssertFact, Batch, Put, Store
from dagbox.store.facts import rules as stored
from dagbox.store.facts.page import facts_page, predicate_sizes
from dagbox.store.facts.rules import stored_rules
from dagbox.store.memory import MemoryStore
from tests.logic.conftest import Clock, do

RULES = 60
MUTUAL = [f"p{n}(X, Y) :- p{(n + 1) % RULES}(X, Z), p{(n * 7) % RULES}(Z, Y)." for n in range(RULES)]
HOSTILE = [*MUTUAL, "p0(X, Y) :- e(X, Y).", "decl s(number).", "t(X) :- s(X)."]
LONG = "wide(X0) :- " + ", ".join(f"e(X{n}, X{n + 1})" for n in range(1500)) + "."
FACTS = {"e": [(n, (n * 3) % 20) for n in range(20)]}


class Spent(Exception):
    """A check was asked too often."""


class Fuse:
    """A check that is counted, and raises from some call on."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.calls = 0

    def __call__(self, *progress: object) -> None:
        self.calls += 1
        if self.most is not None and self.calls > self.most:
            raise Spent


def hostile() -> Program:
    return Program(parse_program("\n".join(HOSTILE)))


def store_of(*operations: Any, clock: Clock | None = None) -> Store:
    store = MemoryStore(clock or Clock())
    do(store, *operations)
    return store


def reading(check: Fuse) -> None:
    stored_rules(store_of(*map(AddRule, HOSTILE)).snapshot().tables, check)


def parsing(check: Fuse) -> None:
    parse_rule(LONG, check)


def checking(check: Fuse) -> None:
    Program(parse_program("\n".join(HOSTILE)), check=check)


def making(check: Fuse) -> None:
    Engine(hostile(), check)


def asking(work: Callable[..., object], goal: str, engine: Engine, check: Fuse) -> None:
    work(engine, goal, MemoryFacts(FACTS), budget=Budget(check=check))


def checking_a_goal(check: Fuse) -> None:
    """The types are inferred again, since the facts of now could be of others."""
    with pytest.raises(TypeMismatch):
        asking(Engine.query, "t(text)", Engine(hostile()), check)


def listing_facts(check: Fuse) -> None:
    store = MemoryStore(Clock())
    store.apply([Batch([AssertFact("f", (number,)) for number in range(20_000)])])
    facts_page(store.snapshot(), None, 20_000, check=check)


def listing_the_end_of_one_posting(check: Fuse) -> None:
    """All in few chunks: what is looked at is facts, not chunks."""
    store = MemoryStore(Clock())
    store.apply([Batch([AssertFact("f", (1, number)) for number in range(20_000)])])
    facts_page(store.snapshot(), "f", 20_000, check=check)


def counting_facts(check: Fuse) -> None:
    clock = Clock()
    store = MemoryStore(clock)
    do(store, AddRule("derive f(key, data.n) from r."))
    store.apply([Batch([Put("r", str(number), pack({"n": [number, 0]}), ttl_ms=5) for number in range(10_000)])])
    clock.now += 10
    predicate_sizes(store.snapshot(), check)


PHASES: dict[str, tuple[Callable[[Fuse], None], int]] = {
    "reading rules": (reading, RULES),
    "parsing a rule": (parsing, 15),
    "checking rules": (checking, 4 * RULES),
    "making an engine": (making, RULES),
    "checking a goal": (checking_a_goal, RULES),
    "planning and code": (lambda check: asking(explain, "p0(1, X)", Engine(hostile()), check), 4 * RULES),
    "a long goal": (lambda check: asking(explain, LONG[12:-1], Engine(Program()), check), 3000),
    "running": (lambda check: asking(Engine.query, "p0(X, Y)", Engine(hostile()), check), 4 * RULES),
    "a proof": (lambda check: asking(why, "p0(0, 0)", Engine(hostile()), check), 4 * RULES),
    "why not": (lambda check: asking(why_not, "p0(0, 1000)", Engine(hostile()), check), 4 * RULES),
    "listing facts": (listing_facts, 19),
    "listing facts of one posting": (listing_the_end_of_one_posting, 19),
    "counting facts": (counting_facts, 9),
}


@pytest.mark.parametrize("phase", list(PHASES))
def test_each_phase_asks_its_budget_as_often_as_its_work_is_long(phase: str) -> None:
    work, least = PHASES[phase]
    work(Fuse())  # what is kept of parsed goals is kept now
    free = Fuse()
    work(free)
    assert free.calls >= least
    for most in (0, free.calls // 3, free.calls - 1):
        fuse = Fuse(most)
        with pytest.raises(Spent):
            work(fuse)
        assert fuse.calls == most + 1


class Ticking:
    """A clock on which a millisecond goes by between two looks at it."""

    def __init__(self) -> None:
        self.looks = itertools.count()

    def monotonic(self) -> float:
        return next(self.looks) / 1000


@pytest.mark.parametrize(
    "operation",
    [
        Query("p0(1, X)"),
        Why("p0(1, X)"),
        Why("p0(1, 1000)"),
        Explain("p0(1, X)"),
        ListFacts(limit=10_000),
        ListPredicates(),
        ListRules(),
    ],
    ids=lambda operation: operation.op,
)
def test_a_deadline_ends_every_operation_wherever_it_is(
    operation: LogicOperation, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = [AssertFact("e", row) for row in FACTS["e"]]
    store = store_of(*facts, *map(AddRule, HOSTILE), *[AssertFact("f", (n,)) for n in range(10_000)])
    wanted = LogicOperations(store).run(operation, Job("wanted"))
    monkeypatch.setattr(jobs, "time", Ticking())
    book, ended = RuleBook(), 0
    for allowed in [0.001 * 1.3**n for n in range(50)]:
        monkeypatch.setattr(stored, "_parsed", {})
        logic = LogicOperations(store, QueryLimits(seconds=allowed), book=book)
        try:
            assert logic.run(operation, Job("one")) == wanted
            break
        except QueryDeadline:
            ended += 1
    else:
        pytest.fail("it never ended")
    assert ended > 3


def test_who_waits_for_another_thread_to_compile_the_rules_can_be_stopped() -> None:
    store, book, job = store_of(AddRule("p(X) :- e(X)."), AssertFact("e", (1,))), RuleBook(), Job("waits")
    job.stop()
    with ThreadPoolExecutor(1) as another:
        another.submit(book.compiling.acquire).result()
        with pytest.raises(Cancelled):
            LogicOperations(store, book=book).run(Query("p(X)"), job)
        another.submit(book.compiling.release).result()
    assert LogicOperations(store, book=book).run(Query("p(X)"), Job("next"))["rows"] == [(1,)]


def test_rules_whose_compiling_was_stopped_are_compiled_by_the_next_query() -> None:
    store, book = store_of(*map(AddRule, HOSTILE), AssertFact("e", (1, 2))), RuleBook()
    with store.snapshot() as snapshot:
        for most in (0, 10, 200):
            with pytest.raises(Spent):
                book.engine(snapshot, Budget(check=Fuse(most)))
        check: Any = partial(Fuse(), None)
        assert book.engine(snapshot, Budget(check=check)) is book.engine(snapshot, Budget())
