"""The lock table: who holds which keys, who waits for them, and until when.

Rules:

1. A key is held by one exclusive lease, or by any number of shared ones, or by nobody.
2. A lease has all of its keys from its first moment to its last. Nobody holds a key while waiting for
   another, so nobody can wait in a circle.
3. Waiting is fair. A request stands, from the moment it comes, in the line of every key it names. A key
   goes to the head of its line, and to the shared requests right behind a shared head; who came later never
   passes one it would conflict with, even if the key lies free because its next holder still waits for
   another key. So a request for many keys does not starve: whoever could delay it was there before it.
4. Every grant has a fencing token of its own, one for all its keys, higher than every token before it, also
   across restarts: tokens are reserved in blocks, and a block is made durable before its first one is used.
5. A lease ends at `expires_at` sharp. Who waits is refused at `until` sharp; when both have passed by the
   time the driver calls, the refusals come first: nobody who stopped waiting is ever granted anything.
6. A request key gets one grant, ever. A repeat finds the lease, or the same place in line, or learns that
   the lease is over (as far back as the last `ENDED_KEPT` leases).
7. Between the restart of the machine and `grace_until` nobody is granted a key, except one that an operator
   freed with `force`: leases that are out and that the journal has forgotten run out in that time.
8. An owner that asks twice waits for itself: leases are told apart by token, not by owner.

The machine has no clock: `now` is monotonic seconds, and a `now` that lies in the past counts as the latest
one seen. `acquire` answers with an event; the other operations return their result or raise. What happened,
in order, is taken with `take_events`: all of it must be in the journal before any of it is told to anybody.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

from dagbox.errors import (
    Busy,
    Cancelled,
    DagBoxError,
    InvalidArgument,
    LeaseLost,
    LimitExceeded,
    Locked,
)
from dagbox.locks.model import (
    BEFORE_RESTART,
    CANCELLED_KEPT,
    DEFAULT_LIMITS,
    EMPTY_STATE,
    ENDED_KEPT,
    TOKEN_BLOCK,
    Ended,
    Event,
    Granted,
    KeyInfo,
    Lease,
    Limits,
    Marked,
    Marks,
    Refused,
    Renewed,
    TableState,
    Waiting,
)
from dagbox.locks.wait_queue import KeyState, Waiter
from dagbox.protocol.values import check_key

COUNTED = ("granted", "waited", "refused", "renewed", "released", "expired", "forced", "cancelled")
"""The names of what `stats` counts since the table was made."""
_WHY = {
    "released": "it was released",
    "expired": "it ran out",
    "forced": "an operator took it away",
    "cancelled": "its request was cancelled",
    "restarted": "the machine was restarted",
}


class LockTable:
    """The lock table of one directory; see the rules above.

    Args:
        limits: what it allows.
        state: what to go on from; see `after_machine_restart` for a state of another boot.
        now: monotonic seconds.
        token_block: how many tokens to reserve at once.
    """

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        state: TableState = EMPTY_STATE,
        now: float = 0.0,
        token_block: int = TOKEN_BLOCK,
    ) -> None:
        self.limits = limits
        self.counts: Counter[str] = Counter()
        self._now = now
        self._marks = state.marks
        self._token_block = token_block
        # The rest of the last block is given up: which of its tokens were issued may be lost.
        self._token = state.marks.tokens
        self._ttl_since = now
        self._ttl_seen = 0.0
        self._freed: set[str] = set()
        self._in_grace = state.marks.grace_until > now
        self._events: list[Event] = []
        self._keys: dict[str, KeyState] = {}
        self._leases: dict[int, Lease] = {}
        self._by_request: dict[bytes, Lease | Waiter] = {}
        self._waiter_number = 0
        self._waiting = 0
        self._lease_times: list[tuple[float, int]] = []
        self._waiter_times: list[tuple[float, int, Waiter]] = []
        self._cancelled: OrderedDict[bytes, None] = OrderedDict()
        self._ended: OrderedDict[int, Ended] = OrderedDict()
        self._ended_requests: dict[bytes, int] = {}
        self._ended_by: dict[bytes, list[int]] = {}
        self._ended_number = 0
        for ended in state.ended:
            self._remember(ended)
        for lease in state.leases:
            self._hold(lease)

    # What it is told

    def acquire(
        self,
        request: bytes,
        owner: str,
        keys: Sequence[str],
        ttl: float,
        now: float,
        *,
        wait: float = 0.0,
        shared: bool = False,
    ) -> None:
        """Ask for a lease on all of these keys. The answer is one `Granted` or `Refused` event, now or later.

        Args:
            request: names the request; a repeat is answered as rule 6 says.
            owner: text that tells people who holds the lock.
            keys: at least one; a key that stands there twice counts once.
            ttl: seconds from the grant on.
            wait: seconds to wait at most; 0 answers at once.
            shared: together with other shared leases.

        Errors of a `Refused`: Locked (with the key that was not to be had), Busy (too many wait), LimitExceeded,
        BadKey, InvalidArgument; for a repeat LeaseLost (granted, and over since) or Cancelled.
        """
        self.tick(now)
        if self._answer_repeat(request):
            return
        try:
            names = self._check(owner, keys, ttl, wait)
            blocked = self._first_blocked(names, shared)
            if blocked is not None and wait <= 0:
                raise self._locked(blocked, self._now)
            if blocked is not None:
                self._check_room(names)
            elif len(self._leases) >= self.limits.leases:
                raise self._busy()
        except DagBoxError as error:
            self._refuse(request, error)
            return
        if blocked is None:
            self._grant(request, owner, names, ttl, shared, now)
        else:
            self._wait(Waiter(request, owner, names, ttl, shared, self._now, self._now + wait))

    def renew(self, token: int, ttl: float | None, now: float) -> Lease:
        """Have a lease last `ttl` seconds from now on (None: as long as it was granted for).

        Raises:
            LeaseLost: it is over.
            LimitExceeded: the time to live is out of bounds.
        """
        self.tick(now)
        lease = self._held(token)
        if ttl is None:
            ttl = lease.ttl
        self._check_ttl(ttl)
        self._mark_ttl(ttl)
        renewed = lease._replace(ttl=ttl, expires_at=self._now + ttl)
        self._leases[token] = renewed
        self._by_request[lease.request] = renewed
        if renewed.expires_at < lease.expires_at:
            self._add_lease_time(renewed)
        self._events.append(Renewed(renewed))
        self.counts["renewed"] += 1
        return renewed

    def release(self, token: int, now: float, by: bytes = b"") -> None:
        """End a lease; its keys go to who waits for them. Repeated under the same request key `by` it does nothing.

        Raises:
            LeaseLost: it was over before.
        """
        self.tick(now)
        before = self._ended.get(token)
        if before is not None and by and before.by == by:
            return
        self._end([self._held(token)], "released", by)

    def force(self, key: str, now: float, by: bytes = b"") -> list[Lease]:
        """End all leases that hold a key, with all of their keys; in a grace period, free the key from it.

        Repeated under the same request key `by` it ends no further lease.

        Returns:
            The leases that were ended.
        """
        self.tick(now)
        if by and by in self._ended_by:
            return [self._ended[token].lease for token in self._ended_by[by]]
        state = self._keys.get(key)
        leases = [self._leases[token] for token in state.holders] if state else []
        if self._in_grace:
            self._freed.add(key)
        self._end(leases, "forced", by, also=(key,))
        return leases

    def cancel(self, request: bytes, now: float) -> None:
        """Nobody wants the answer to this request any more: it leaves the line, or gives its lease back.

        A request that waited is answered with a `Refused` that carries Cancelled.
        """
        self.tick(now)
        found = self._by_request.get(request)
        if isinstance(found, Lease):
            self._end([found], "cancelled", request)
        elif found is not None:
            self._leave(found)
            self._refuse(request, Cancelled("lock"))
            self._settle(found.keys)
        if request not in self._ended_requests:
            self._cancelled[request] = None
            if len(self._cancelled) > CANCELLED_KEPT:
                self._cancelled.popitem(last=False)

    def tick(self, now: float) -> None:
        """Let time pass: refuse who has waited long enough, then end the leases that have run out."""
        if now > self._now:
            self._now = now
        now = self._now
        if self._waiter_times and self._waiter_times[0][0] <= now:
            self._refuse_late(now)
        if self._lease_times and self._lease_times[0][0] <= now:
            self._expire(now)
        if self._in_grace and now >= self._marks.grace_until:
            self._in_grace = False
            self._freed.clear()
            self._settle(list(self._keys))
        if self._marks.max_ttl and now - self._ttl_since >= self._marks.max_ttl:
            self._lower_max_ttl(now)

    # What can be asked

    def take_events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, in monotonic seconds; None: never, as things are."""
        while self._lease_times and not self._is_current(*self._lease_times[0]):
            self._drop_lease_time()
        while self._waiter_times and not self._still_waits(self._waiter_times[0][2]):
            heapq.heappop(self._waiter_times)
        times = [self._lease_times[0][0]] if self._lease_times else []
        if self._waiter_times:
            times.append(self._waiter_times[0][0])
        if self._in_grace:
            times.append(self._marks.grace_until)
        return min(times, default=None)

    def state(self) -> TableState:
        """All that outlives the process. Who waits does not: their requests come again."""
        return TableState(self._marks, tuple(self._leases.values()), tuple(self._ended.values()))

    def listing(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[KeyInfo]:
        """The keys that are held or waited for, sorted; only those that begin with `prefix` and come after `after`."""
        names = (name for name in self._keys if name.startswith(prefix) and name > after)
        chosen = sorted(names) if limit is None else heapq.nsmallest(limit, names)
        return [self._describe(name) for name in chosen]

    def knows(self, request: bytes) -> bool:
        """Whether this request holds a lease or waits for one."""
        return request in self._by_request

    def lease(self, token: int) -> Lease | None:
        """The lease of this token, if it is held."""
        return self._leases.get(token)

    def stats(self) -> dict[str, int]:
        """Leases and keys held, requests waiting, the highest token, and counts since the table was made."""
        return {
            "leases": len(self._leases),
            "keys": len(self._keys),
            "waiting": self._waiting,
            "token": self._token,
            "max_ttl_ms": round(self._marks.max_ttl * 1000),
            "grace_left_ms": math.ceil(max(0.0, self._marks.grace_until - self._now) * 1000) if self._in_grace else 0,
            **{name: self.counts[name] for name in COUNTED},
        }

    # Checks

    def _check(self, owner: str, keys: Sequence[str], ttl: float, wait: float) -> tuple[str, ...]:
        if not keys:
            raise InvalidArgument("a lock needs at least one key")
        if len(keys) > self.limits.keys:
            raise LimitExceeded("keys of one lock", len(keys), self.limits.keys)
        names = tuple(dict.fromkeys(check_key(name) for name in keys))
        try:
            size = len(owner.encode())
        except UnicodeEncodeError:
            raise InvalidArgument("the owner of a lock is valid Unicode") from None
        if size > self.limits.owner_bytes:
            raise LimitExceeded("bytes of a lock's owner", size, self.limits.owner_bytes)
        self._check_ttl(ttl)
        if not wait <= self.limits.max_wait:
            raise LimitExceeded("wait_ms of a lock", _ms(wait), _ms(self.limits.max_wait))
        return names

    def _check_ttl(self, ttl: float) -> None:
        if not ttl <= self.limits.max_ttl:
            raise LimitExceeded("ttl_ms of a lock", _ms(ttl), _ms(self.limits.max_ttl))
        if ttl < self.limits.min_ttl:
            raise InvalidArgument(f"ttl_ms of a lock is {_ms(ttl)}, the least allowed is {_ms(self.limits.min_ttl)}")

    def _check_room(self, names: tuple[str, ...]) -> None:
        if self._waiting >= self.limits.waiting:
            raise self._busy()
        for name in names:
            state = self._keys.get(name)
            if state and len(state.line) + len(state.let_in) >= self.limits.waiting_per_key:
                raise self._busy()

    def _busy(self) -> Busy:
        deadline = self.next_deadline()
        pause = 1.0 if deadline is None else min(1.0, max(0.05, deadline - self._now))
        return Busy("lock", _ms(pause))

    def _held(self, token: int) -> Lease:
        lease = self._leases.get(token)
        if lease is None:
            raise self._lost(token)
        return lease

    def _lost(self, token: int) -> LeaseLost:
        ended = self._ended.get(token)
        return LeaseLost(ended.lease.keys[0], token, _WHY[ended.how]) if ended else LeaseLost("", token)

    def _answer_repeat(self, request: bytes) -> bool:
        """Answer a request that came before (rule 6); whether it did."""
        found = self._by_request.get(request)
        if isinstance(found, Lease):
            self._events.append(Granted(request, found, repeat=True))
        elif found is None and request in self._ended_requests:
            self._refuse(request, self._lost(self._ended_requests[request]))
        elif found is None and request in self._cancelled:
            self._refuse(request, Cancelled("lock"))
        else:
            return found is not None
        return True

    # Who is in the way

    def _first_blocked(self, names: tuple[str, ...], shared: bool) -> str | None:
        """The first key that a newcomer cannot have now, or None."""
        for name in names:
            state = self._keys.get(name)
            if state is not None and (state.line or not state.admits(shared)):
                return name
            if self._in_grace and name not in self._freed:
                return name
        return None

    def _locked(self, name: str, now: float) -> Locked:
        """Why a key was not to be had: a lease on it, the grace period, or who has it kept or stands before."""
        state = self._keys.get(name)
        if state and state.holders:
            lease = self._leases[next(reversed(state.holders))]
            return Locked(name, lease.owner, _ms(lease.left(now)))
        if self._in_grace and name not in self._freed:
            return Locked(name, BEFORE_RESTART, _ms(self._marks.grace_until - now))
        ahead = self._ahead(state) if state else None
        return Locked(name, ahead.owner, _ms(max(0.0, ahead.until - now))) if ahead else Locked(name, "", 0)

    @staticmethod
    def _ahead(state: KeyState) -> Waiter | None:
        return next(iter(state.let_in.values()), None) or next(iter(state.line.values()), None)

    # Waiting

    def _wait(self, waiter: Waiter) -> None:
        self._waiter_number += 1
        waiter.number = self._waiter_number
        self._by_request[waiter.request] = waiter
        self._waiting += 1
        heapq.heappush(self._waiter_times, (waiter.until, waiter.number, waiter))
        if len(self._waiter_times) > 2 * self._waiting + 64:
            self._waiter_times = [entry for entry in self._waiter_times if self._still_waits(entry[2])]
            heapq.heapify(self._waiter_times)
        for name in waiter.keys:
            self._keys.setdefault(name, KeyState()).line[waiter.number] = waiter
        self._settle(waiter.keys)
        self.counts["waited"] += 1

    def _still_waits(self, waiter: Waiter) -> bool:
        return self._by_request.get(waiter.request) is waiter

    def _leave(self, waiter: Waiter) -> None:
        """Take a waiter out of all lines; the caller settles its keys."""
        del self._by_request[waiter.request]
        self._waiting -= 1
        for name in waiter.keys:
            state = self._keys[name]
            if state.let_in.pop(waiter.number, None) is None:
                state.line.pop(waiter.number, None)

    def _settle(self, names: Iterable[str]) -> None:
        """Let into each key who may come in, and grant, in the order they came, who has all keys now."""
        ready: list[Waiter] = []
        for name in names:
            state = self._keys.get(name)
            if state is None:
                continue
            if not (self._in_grace and name not in self._freed):
                self._let_in(state, ready)
            if state.is_idle():
                del self._keys[name]
        for waiter in sorted(ready, key=lambda waiter: waiter.number):
            self._leave(waiter)
            self._grant(waiter.request, waiter.owner, waiter.keys, waiter.ttl, waiter.shared, waiter.since)

    @staticmethod
    def _let_in(state: KeyState, ready: list[Waiter]) -> None:
        while state.line:
            number, waiter = next(iter(state.line.items()))
            if not state.admits(waiter.shared):
                return
            del state.line[number]
            state.let_in[number] = waiter
            state.shared = waiter.shared
            waiter.missing -= 1
            if not waiter.missing:
                ready.append(waiter)

    def _refuse(self, request: bytes, error: DagBoxError) -> None:
        self._events.append(Refused(request, error))
        self.counts["refused"] += 1

    def _refuse_late(self, now: float) -> None:
        """All of them leave before anybody comes in (rule 5)."""
        late: list[Waiter] = []
        while self._waiter_times and self._waiter_times[0][0] <= now:
            waiter = heapq.heappop(self._waiter_times)[2]
            if self._still_waits(waiter):
                late.append(waiter)
        errors = [self._locked(self._missing_key(waiter), now) for waiter in late]
        for waiter, error in zip(late, errors, strict=True):
            self._leave(waiter)
            self._refuse(waiter.request, error)
        self._settle(dict.fromkeys(name for waiter in late for name in waiter.keys))

    def _missing_key(self, waiter: Waiter) -> str:
        """The first key that a waiter was not let into."""
        return next(name for name in waiter.keys if waiter.number in self._keys[name].line)

    # Leases

    def _grant(
        self, request: bytes, owner: str, names: tuple[str, ...], ttl: float, shared: bool, since: float
    ) -> None:
        self._mark_ttl(ttl)
        self._token += 1
        if self._token > self._marks.tokens:
            self._mark(self._marks._replace(tokens=self._token - 1 + self._token_block), durable=True)
        lease = Lease(self._token, names, owner, shared, ttl, self._now + ttl, request)
        self._hold(lease)
        self._events.append(Granted(request, lease, waited=max(0.0, self._now - since)))
        self.counts["granted"] += 1

    def _hold(self, lease: Lease) -> None:
        for name in lease.keys:
            state = self._keys.get(name)
            if state is None:
                state = self._keys[name] = KeyState()
            state.holders[lease.token] = None
            state.shared = lease.shared
        self._leases[lease.token] = lease
        self._by_request[lease.request] = lease
        self._add_lease_time(lease)

    def _add_lease_time(self, lease: Lease) -> None:
        heapq.heappush(self._lease_times, (lease.expires_at, lease.token))
        if len(self._lease_times) > 2 * len(self._leases) + 64:
            self._lease_times = [(lease.expires_at, token) for token, lease in self._leases.items()]
            heapq.heapify(self._lease_times)

    def _end(self, leases: list[Lease], how: str, by: bytes, also: tuple[str, ...] = ()) -> None:
        for lease in leases:
            del self._leases[lease.token]
            del self._by_request[lease.request]
            for name in lease.keys:
                del self._keys[name].holders[lease.token]
            ended = Ended(lease, how, by, self._ended_number + 1)
            self._remember(ended)
            self._events.append(ended)
            self.counts[how] += 1
        self._settle(dict.fromkeys([*also, *(name for lease in leases for name in lease.keys)]))

    def _expire(self, now: float) -> None:
        over: list[Lease] = []
        while self._lease_times and self._lease_times[0][0] <= now:
            lease = self._leases.get(self._lease_times[0][1])
            if lease is not None and lease.expires_at <= now and (not over or over[-1] is not lease):
                over.append(lease)
            self._drop_lease_time()
        self._end(over, "expired", b"")

    def _is_current(self, time: float, token: int) -> bool:
        lease = self._leases.get(token)
        return lease is not None and lease.expires_at == time

    def _drop_lease_time(self) -> None:
        """Take the first time off the heap; a lease that was renewed since goes back in with its new one."""
        time, token = self._lease_times[0]
        lease = self._leases.get(token)
        if lease is not None and lease.expires_at > time:
            heapq.heapreplace(self._lease_times, (lease.expires_at, token))
        else:
            heapq.heappop(self._lease_times)

    def _remember(self, ended: Ended) -> None:
        self._ended_number = ended.number
        self._ended[ended.lease.token] = ended
        self._ended_requests[ended.lease.request] = ended.lease.token
        if ended.by:
            self._ended_by.setdefault(ended.by, []).append(ended.lease.token)
        if len(self._ended) > ENDED_KEPT:
            token, oldest = self._ended.popitem(last=False)
            if self._ended_requests.get(oldest.lease.request) == token:
                del self._ended_requests[oldest.lease.request]
            self._ended_by.pop(oldest.by, None)

    # Marks

    def _mark(self, marks: Marks, durable: bool) -> None:
        self._marks = marks
        self._events.append(Marked(marks, durable))

    def _mark_ttl(self, ttl: float) -> None:
        """Raise the mark before a lease of this length is out; in steps, since each one is a sync."""
        step = 1.0 if ttl <= 60.0 else 60.0
        rounded = math.ceil(ttl / step) * step
        self._ttl_seen = max(self._ttl_seen, rounded)
        if rounded > self._marks.max_ttl:
            self._mark(self._marks._replace(max_ttl=rounded), durable=True)

    def _lower_max_ttl(self, now: float) -> None:
        """A whole `max_ttl` has passed since `_ttl_since`: what is out was granted since, for `_ttl_seen` at most."""
        if self._ttl_seen < self._marks.max_ttl:
            self._mark(self._marks._replace(max_ttl=self._ttl_seen), durable=False)
        self._ttl_since = now
        self._ttl_seen = 0.0

    def _describe(self, name: str) -> KeyInfo:
        state = self._keys[name]
        waiters = [*state.let_in.values(), *state.line.values()]
        return KeyInfo(
            name,
            [self._leases[token] for token in state.holders],
            [Waiting(waiter.owner, self._now - waiter.since, waiter.shared) for waiter in waiters],
        )


def _ms(seconds: float) -> int:
    """Whole milliseconds, rounded up, so that time left is never told as none."""
    return math.ceil(seconds * 1000 - 1e-6) if math.isfinite(seconds) else 2**63 - 1
