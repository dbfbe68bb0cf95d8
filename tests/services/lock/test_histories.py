"""Any history of requests, time, crashes, power losses and disk failures, compared with the model after each step."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dagbox.errors import Cancelled, LeaseLost, Locked, StoreFull
from dagbox.protocol.values import pack, unpack
from dagbox.services.base import Failed, Outcome, Reply, Request
from dagbox.services.lock.journal import LockJournal, read_state
from dagbox.services.lock.service import RELOAD_PAUSE_S, LockOperations, LockService
from tests.effort import examples
from tests.services.lock.lossy_store import LossyStore
from tests.services.lock.model import Ask, LockModel

KEYS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)
TTL_MS = st.sampled_from([700, 2_000, 5_000])
WAIT_MS = st.sampled_from([0, 1_000, 4_000, 20_000])
STEP_S = st.sampled_from([0.25, 0.5, 1.0, 3.0, 8.0])
PICK = st.integers(0, 10**6)


class LockHistories(RuleBasedStateMachine):
    """The service over its journal, told to do anything. `model` says what has to come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.store = LossyStore()
        self.model = LockModel()
        self.boot = 1
        self.now = 100.0
        self.true_time = 0.0
        self.number = 0
        self.last_token = 0
        self.reload_at: float | None = None
        self.asks: list[tuple[Request, Ask]] = []
        self.tokens: list[int] = []
        self.released: list[tuple[Request, int]] = []
        self.believed: dict[int, tuple[Ask, float]] = {}
        """What the clients believe to hold, and until when, in a time that no restart touches."""

    @initialize()
    def start(self) -> None:
        self.store.fail_apply = self.store.fail_sync = None
        self.service = LockService(LockOperations(LockJournal(self.store, f"boot {self.boot}"), self.now))

    def teardown(self) -> None:
        self.store.close()

    # Driving: one call of the service, with the model brought to the same time first.

    def request(self, **operation: Any) -> Request:
        self.number += 1
        return Request(b"client--", self.number.to_bytes(8, "big"), pack(operation))

    def begin(self) -> bool:
        """Whether the service has its table at this moment."""
        if self.reload_at is not None and self.now >= self.reload_at:
            self.reload_at = None
        self.before, self.failures = copy.deepcopy(self.model), self.store.failures
        if self.reload_at is None:
            self.model.catch_up(self.now)
        return self.reload_at is None

    def failed(self, answers: dict[bytes, Any], own: bytes | None) -> bool:
        """Whether the journal could not be written: then all in hand and in line got that error, nothing else."""
        if self.reload_at is None and self.store.failures == self.failures:
            return False
        assert answers.keys() == {ask.request for ask in self.before.queue} | ({own} if own else set())
        assert all(isinstance(answer, StoreFull) for answer in answers.values())
        self.model = self.before
        self.model.process_died()
        if self.reload_at is None:
            self.reload_at = self.now + RELOAD_PAUSE_S
        return True

    def send(self, request: Request) -> tuple[bool, Any]:
        """Whether it was done, and its own answer, None if it waits."""
        self.begin()
        self.answers = opened(self.service.handle([request], self.now))
        if self.failed(self.answers, request.key):
            return False, None
        return True, self.answers.pop(request.key, None)

    def compare(self) -> None:
        """Those who waited were answered as the model says, and nobody else was."""
        told = [(self.answers.pop(ask.request), ask) for ask in self.model.newly]
        for answer, ask in sorted(told, key=lambda pair: pair[0]["token"]):
            self.granted(ask, answer)
        for ask in self.model.late:
            assert isinstance(self.answers.pop(ask.request), Locked)
        assert self.answers == {}
        self.model.newly, self.model.late = [], []

    def granted(self, ask: Ask, answer: Any) -> None:
        assert answer["token"] > self.last_token, "tokens rise, for ever"
        assert answer["keys"] == list(ask.keys)
        self.last_token = answer["token"]
        self.told(ask, answer)

    def told(self, ask: Ask, answer: Any) -> None:
        ask.token = answer["token"]
        self.tokens.append(ask.token)
        left = answer["left_ms"] / 1000
        assert left == round(ask.expires_at - self.now, 3)
        self.believed[ask.token] = (ask, self.true_time + left)

    def holder(self, token: int) -> Ask | None:
        return next((ask for ask in self.model.held if ask.token == token), None)

    # What clients do.

    @rule(keys=KEYS, shared=st.booleans(), ttl_ms=TTL_MS, wait_ms=WAIT_MS)
    def acquire(self, keys: list[str], shared: bool, ttl_ms: int, wait_ms: int) -> None:
        request = self.request(op="acquire", keys=keys, shared=shared, ttl_ms=ttl_ms, wait_ms=wait_ms)
        self.asks.append((request, Ask(request.key, tuple(keys), shared, ttl_ms / 1000, wait_ms / 1000)))
        self.ask(*self.asks[-1])

    @precondition(lambda self: self.asks)
    @rule(pick=PICK)
    def repeat(self, pick: int) -> None:
        self.ask(*self.asks[pick % len(self.asks)])

    def ask(self, request: Request, ask: Ask) -> None:
        done, answer = self.send(request)
        if not done:
            return
        model = self.model
        held = next((other for other in model.held if other.request == ask.request), None)
        if held in model.newly or any(other.request == ask.request for other in model.late):
            self.answers[ask.request] = answer  # the end of its wait is the answer to the repeat
        elif held is not None:
            assert held.token in (0, answer["token"]), "the same lease"
            self.told(held, answer)
        elif any(other.request == ask.request for other in model.queue):
            assert answer is None, "the same place in line"
        elif ask.request in model.over:
            assert isinstance(answer, LeaseLost), "one request, one grant"
        elif ask.request in model.cancelled:
            assert isinstance(answer, Cancelled)
        else:
            self.ask_first(replace(ask, until=self.now + ask.wait), answer)
        self.compare()

    def ask_first(self, ask: Ask, answer: Any) -> None:
        if self.model.is_free(ask, self.now):
            self.model.hold(ask, self.now)
            if answer is not None:
                self.model.newly.append(ask)
                self.answers[ask.request] = answer
        elif ask.wait:
            assert answer is None
            self.model.queue.append(ask)
        else:
            assert isinstance(answer, Locked)
            assert answer.key in ask.keys

    @precondition(lambda self: self.tokens)
    @rule(pick=PICK, ttl_ms=TTL_MS)
    def renew(self, pick: int, ttl_ms: int) -> None:
        token = self.tokens[pick % len(self.tokens)]
        done, answer = self.send(self.request(op="renew", token=token, ttl_ms=ttl_ms))
        if not done:
            return
        held = self.holder(token)
        if held is None:
            assert isinstance(answer, LeaseLost)
        else:
            held.ttl = ttl_ms / 1000
            held.expires_at = self.now + held.ttl
            assert answer["left_ms"] == ttl_ms
            self.believed[token] = (held, self.true_time + held.ttl)
        self.compare()

    @precondition(lambda self: self.tokens)
    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        token = self.tokens[pick % len(self.tokens)]
        request = self.request(op="release", token=token)
        done, answer = self.send(request)
        if not done:
            return
        held = self.holder(token)
        if held is None:
            assert isinstance(answer, LeaseLost)
        else:
            assert answer is True
            self.released.append((request, token))
            self.believed.pop(token, None)
            self.model.end([held], self.now)
        self.compare()

    @precondition(lambda self: self.released)
    @rule(pick=PICK)
    def release_again(self, pick: int) -> None:
        done, answer = self.send(self.released[pick % len(self.released)][0])
        if done:
            assert answer is True
            self.compare()

    @rule(key=st.sampled_from("abc"))
    def force(self, key: str) -> None:
        done, answer = self.send(self.request(op="force", key=key))
        if not done:
            return
        taken = [ask for ask in self.model.held if key in ask.keys]
        assert len(answer) == len(taken)
        if self.now < self.model.grace_until:
            # The operator says so: whoever held this key before the restart does no more.
            self.model.freed.add(key)
            for token in [token for token, (ask, _) in self.believed.items() if key in ask.keys]:
                del self.believed[token]
        self.model.end(taken, self.now)
        self.compare()
        for lease in answer:
            # Only now: it may have been granted and taken away in this one call.
            self.believed.pop(lease["token"], None)

    @precondition(lambda self: self.asks)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        key = self.asks[pick % len(self.asks)][1].request
        self.begin()
        self.answers = opened(self.service.cancel(key, self.now))
        if self.failed(self.answers, None):
            return
        waiting = [ask for ask in self.model.queue if ask.request == key]
        held = [ask for ask in self.model.held if ask.request == key]
        for ask in waiting:
            self.model.queue.remove(ask)
            assert isinstance(self.answers.pop(key), Cancelled)
        fresh = [ask for ask in held if ask in self.model.newly]
        for ask in fresh:
            # LockGranted and given back in one call: its answer may be either, nobody wants it.
            self.granted(ask, self.answers.pop(key))
            self.model.newly.remove(ask)
        for ask in held:
            self.believed.pop(ask.token, None)
        self.model.end(held, self.now)
        if key not in self.model.over:
            self.model.cancelled.add(key)
        self.compare()

    # What the world does.

    @rule(seconds=STEP_S, ticks=st.booleans())
    def pass_time(self, seconds: float, ticks: bool) -> None:
        self.now += seconds
        self.true_time += seconds
        if ticks:
            self.begin()
            self.answers = opened(self.service.tick(self.now))
            if not self.failed(self.answers, None):
                self.compare()

    @rule()
    def kill_process(self) -> None:
        self.reload_at = None
        self.model.process_died()
        self.start()

    @precondition(lambda self: self.reload_at is None)
    @rule(keys=KEYS, ttl_ms=TTL_MS)
    def kill_process_before_it_answers(self, keys: list[str], ttl_ms: int) -> None:
        request = self.request(op="acquire", keys=keys, ttl_ms=ttl_ms)
        ask = Ask(request.key, tuple(keys), False, ttl_ms / 1000, 0.0)
        self.asks.append((request, ask))
        self.begin()
        self.service.handle([request], self.now)
        if self.store.failures > self.failures:
            self.model = self.before
        elif self.model.is_free(ask, self.now):
            self.model.hold(replace(ask), self.now)
        self.kill_process()

    @rule(kept=PICK, down_s=st.sampled_from([0.0, 0.5, 6.0]))
    def restart_machine(self, kept: int, down_s: float) -> None:
        self.store = self.store.after_power_loss(kept % (len(self.store.log) + 1))
        self.boot += 1
        self.now = 3.0
        self.true_time += down_s
        self.asks, self.released, self.reload_at = [], [], None
        self.start()
        grace_ms = self.service.report()["locks"]["grace_left_ms"]
        self.model = LockModel(grace_until=self.now + grace_ms / 1000)

    @rule(commit=st.booleans())
    def disk_fills(self, commit: bool) -> None:
        self.store.fail_apply = StoreFull("there", "no space") if commit else None
        self.store.fail_sync = None if commit else StoreFull("there", "no space")

    # What must always hold.

    @invariant()
    def no_two_holders(self) -> None:
        live = [ask for ask, until in self.believed.values() if until > self.true_time]
        assert not any(one.conflicts(other) for one, other in combinations(live, 2))

    @invariant()
    def listing_is_the_model(self) -> None:
        table = getattr(self, "service", None) and self.service._operations._table
        if not table or self.reload_at is not None:
            return
        state = {lease.request[:16]: (lease.keys, lease.shared) for lease in table.state().leases}
        assert state == {ask.request: (ask.keys, ask.shared) for ask in self.model.held}
        waiting = {info.key: len(info.waiting) for info in table.listing() if info.waiting}
        expected = [key for ask in self.model.queue for key in ask.keys]
        assert waiting == {key: expected.count(key) for key in expected}

    @invariant()
    def journal_is_the_table(self) -> None:
        table = getattr(self, "service", None) and self.service._operations._table
        if table:
            assert read_state(self.store) == (f"boot {self.boot}" if self.store.log else None, table.state())


def opened(outcomes: Sequence[Outcome]) -> dict[bytes, Any]:
    """The answers by request key."""
    answers: dict[bytes, Any] = {}
    for outcome in outcomes:
        assert isinstance(outcome, Reply | Failed)
        assert outcome.request.key not in answers, "two answers"
        answers[outcome.request.key] = unpack(outcome.body) if isinstance(outcome, Reply) else outcome.error
    return answers


TestLockHistories = LockHistories.TestCase
TestLockHistories.settings = settings(max_examples=examples(300), stateful_step_count=40, deadline=None)
