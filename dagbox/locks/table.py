"""The lock table: leases on keys, and the requests that wait for them.

Rules:

1. A key is held by one exclusive lease, or by any number of shared ones, or by nobody.
2. A lease has all of its keys from its first moment to its last. Nobody holds a key while waiting for
   another, so nobody can wait in a circle.
3. Waiting is fair. A request is queued, from the moment it arrives, at every key it names. A key goes to the
   head of its queue, and to the shared requests right behind a shared head; a later request never passes one
   it would conflict with, even if the key is free because its next holder still waits for another key. So a
   request for many keys does not starve: whatever could delay it was there before it.
4. Every grant has a fencing token of its own, one for all its keys, higher than every token before it, also
   across restarts: tokens are reserved in blocks, and a block is made durable before its first one is used. A
   restart of the machine skips what is left of the block, as the last grants may be lost.
5. A lease ends at `expires_at` sharp, and a wait at `until` sharp. When both have passed by the time the driver
   calls, refusals come first: a request that stopped waiting is never granted anything.
6. A request key gets one grant, ever. A repeat finds the lease, or the same place in the queue, or learns that
   the lease has ended (as far back as the last `ENDED_KEPT` leases). If its wait ends in the very call that
   brings the repeat, the end of the wait answers both; only a repeat after that answer asks anew.
7. Between a restart of the machine and `grace_until` no key is granted, except one that an operator freed with
   `force`: leases that are held and that the journal has lost expire in that time.
8. An owner that asks twice waits for itself: leases are identified by token, not by owner.

The machine has no clock: `now` is monotonic seconds, and a `now` in the past counts as the latest one seen.
`acquire` answers with an event; the other operations return their result or raise. `take_events` returns what
happened, in order: all of it must be in the journal before any of it is announced.
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
    LeaseLost,
    Locked,
)
from dagbox.locks.checks import check_acquire, check_ttl, to_ms
from dagbox.locks.model import (
    BEFORE_RESTART,
    CANCELLED_KEPT,
    DEFAULT_LIMITS,
    EMPTY_STATE,
    ENDED_KEPT,
    TOKEN_BLOCK,
    WHY_ENDED,
    Ended,
    HighWater,
    HighWaterMoved,
    KeyInfo,
    Lease,
    Left,
    LockEvent,
    LockGranted,
    LockLimits,
    LockRefused,
    Place,
    Queued,
    Renewed,
    TableState,
    Waiting,
)
from dagbox.locks.wait_queue import KeyState, Waiter

COUNTED = ("granted", "waited", "refused", "renewed", "released", "expired", "forced", "cancelled")
"""The counters of `stats`, since the table was made."""


class LockTable:
    """The lock table of one directory; see the rules above.

    Args:
        limits: its limits.
        state: the state to continue from; see `after_machine_restart` for a state of another boot.
        now: monotonic seconds.
        token_block: tokens to reserve at once.
    """

    def __init__(
        self,
        limits: LockLimits = DEFAULT_LIMITS,
        state: TableState = EMPTY_STATE,
        now: float = 0.0,
        token_block: int = TOKEN_BLOCK,
    ) -> None:
        self.limits = limits
        self.counts: Counter[str] = Counter()
        self._now = now
        self._token_block = token_block
        self._ttl_since = now
        self._ttl_seen = 0.0
        self._freed: set[str] = set()
        self.events: list[LockEvent] = []
        """Events since the last `take_events`."""
        self._waiter_number = 0
        self._cancelled: OrderedDict[bytes, None] = OrderedDict()
        self._ended: OrderedDict[int, Ended] = OrderedDict()
        self._ended_requests: dict[bytes, int] = {}
        self._ended_by: dict[bytes, list[int]] = {}
        self.ended_number = 0
        """The number of the last lease that ended."""
        self.resume(state, (), now)

    def resume(self, state: TableState, places: Sequence[Place], now: float) -> None:
        """Go on from what others made of the table.

        Args:
            state: as of now; of the ended leases those from `ended_number` on will do.
            places: those in line, by number.
            now: monotonic seconds.
        """
        self._now = max(self._now, now)
        self._high_water = state.high_water
        self._in_grace = state.high_water.grace_until > self._now
        self._token = state.token
        self._keys: dict[str, KeyState] = {}
        self._leases: dict[int, Lease] = {}
        self._by_request: dict[bytes, Lease | Waiter] = {}
        self._waiting = 0
        self._lease_times: list[tuple[float, int]] = []
        self._waiter_times: list[tuple[float, int, Waiter]] = []
        for ended in state.ended:
            if ended.number > self.ended_number:
                self._remember(ended)
                self._saw_ttl(ended.lease.ttl)
        for lease in state.leases:
            self._hold(lease)
            self._saw_ttl(lease.ttl)
        for place in places:
            self._join(Waiter.at(place))
        self._settle(list(self._keys))

    # Operations

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
        """Ask for a lease on all of these keys. The answer is one `LockGranted` or `LockRefused` event, now or later.

        Args:
            request: key of the request; a repeat is answered as rule 6 says.
            owner: text that identifies the holder to people.
            keys: at least one; a repeated key counts once.
            ttl: seconds from the grant on.
            wait: seconds to wait at most; 0 answers at once.
            shared: True to share the keys with other shared leases.

        Errors of a `LockRefused`: Locked (with the unavailable key), Busy (too many wait), LimitExceeded, BadKey,
        InvalidArgument; for a repeat LeaseLost (granted, and ended since) or Cancelled.
        """
        before = self._by_request.get(request)
        self.tick(now)
        if isinstance(before, Waiter) and not self._still_waits(before):
            return  # the tick has answered it (rule 6)
        if self._answer_repeat(request):
            return
        try:
            names = check_acquire(self.limits, owner, keys, ttl, wait)
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
        """Make a lease last `ttl` seconds from now on (None: as long as it was granted for).

        Raises:
            LeaseLost: it has ended.
            LimitExceeded: the time to live is out of bounds.
        """
        self.tick(now)
        lease = self._held(token)
        if ttl is None:
            ttl = lease.ttl
        check_ttl(self.limits, ttl)
        self._mark_ttl(ttl)
        renewed = lease._replace(ttl=ttl, expires_at=self._now + ttl)
        self._leases[token] = renewed
        self._by_request[lease.request] = renewed
        if renewed.expires_at < lease.expires_at:
            self._add_lease_time(renewed)
        self.events.append(Renewed(renewed))
        self.counts["renewed"] += 1
        return renewed

    def release(self, token: int, now: float, by: bytes = b"") -> None:
        """End a lease; its keys go to the requests that wait. Repeated under the same request key `by` it does nothing.

        Raises:
            LeaseLost: it had ended before.
        """
        self.tick(now)
        before = self._ended.get(token)
        if before is not None and by and before.by == by:
            return
        self._end([self._held(token)], "released", by)

    def force(self, key: str, now: float, by: bytes = b"") -> list[Lease]:
        """End all leases that hold a key, with all of their keys; in a grace period, exempt the key from it.

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
        """Withdraw a request: remove it from the queues, or end the lease it was granted.

        A request that waited is answered with a `LockRefused` that carries Cancelled.
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
        """Advance the clock: refuse requests whose wait is over, then end leases that have expired."""
        if now > self._now:
            self._now = now
        now = self._now
        if self._waiter_times and self._waiter_times[0][0] <= now:
            self._refuse_late(now)
        if self._lease_times and self._lease_times[0][0] <= now:
            self._expire(now)
        if self._in_grace and now >= self._high_water.grace_until:
            self._in_grace = False
            self._freed.clear()
            self._settle(list(self._keys))
        if self._high_water.max_ttl and now - self._ttl_since >= self._high_water.max_ttl:
            self._lower_max_ttl(now)

    # Queries

    def take_events(self) -> list[LockEvent]:
        """Return the events since the last call, in order."""
        events, self.events = self.events, []
        return events

    def next_deadline(self) -> float | None:
        """Return when `tick` is due, in monotonic seconds; None if nothing is pending."""
        while self._lease_times and not self._is_current(*self._lease_times[0]):
            self._drop_lease_time()
        while self._waiter_times and not self._still_waits(self._waiter_times[0][2]):
            heapq.heappop(self._waiter_times)
        times = [self._lease_times[0][0]] if self._lease_times else []
        if self._waiter_times:
            times.append(self._waiter_times[0][0])
        if self._in_grace:
            times.append(self._high_water.grace_until)
        return min(times, default=None)

    def state(self) -> TableState:
        """Return what outlives the process. Waiting requests do not: they are sent again."""
        return TableState(self._high_water, tuple(self._leases.values()), tuple(self._ended.values()), self._token)

    def listing(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[KeyInfo]:
        """Return the keys that are held or waited for, sorted: those that start with `prefix` and follow `after`."""
        names = (name for name in self._keys if name.startswith(prefix) and name > after)
        chosen = sorted(names) if limit is None else heapq.nsmallest(limit, names)
        return [self._describe(name) for name in chosen]

    def knows(self, request: bytes) -> bool:
        """Return True if this request holds a lease or waits for one."""
        return request in self._by_request

    def lease_of(self, request: bytes) -> Lease | None:
        """Return the lease that a request was granted, if it is held, else None."""
        found = self._by_request.get(request)
        return found if isinstance(found, Lease) else None

    def blocker(self, request: bytes) -> tuple[str, Lease | Place | None] | None:
        """Return the first key that a waiting request lacks, and who is in its way there; None if it does not wait."""
        waiter = self._by_request.get(request)
        if not isinstance(waiter, Waiter):
            return None
        state = self._keys[name := self._missing_key(waiter)]
        ahead = self._ahead(state)
        if state.holders:
            return name, self._leases[next(reversed(state.holders))]
        return name, None if ahead is None or ahead is waiter else ahead.place

    def lease(self, token: int) -> Lease | None:
        """Return the lease of a token if it is held, else None."""
        return self._leases.get(token)

    def stats(self) -> dict[str, int]:
        """Return leases and keys held, requests waiting, the highest token, and counts since the table was made."""
        return {
            "leases": len(self._leases),
            "keys": len(self._keys),
            "waiting": self._waiting,
            "token": self._token,
            "max_ttl_ms": round(self._high_water.max_ttl * 1000),
            "grace_left_ms": self._grace_left_ms(),
            **{name: self.counts[name] for name in COUNTED},
        }

    def _grace_left_ms(self) -> int:
        left = self._high_water.grace_until - self._now
        return math.ceil(max(0.0, left) * 1000) if self._in_grace else 0

    # Checks

    def _check_room(self, names: tuple[str, ...]) -> None:
        if self._waiting >= self.limits.waiting:
            raise self._busy()
        for name in names:
            state = self._keys.get(name)
            if state and len(state.queue) + len(state.admitted) >= self.limits.waiting_per_key:
                raise self._busy()

    def _busy(self) -> Busy:
        deadline = self.next_deadline()
        pause = 1.0 if deadline is None else min(1.0, max(0.05, deadline - self._now))
        return Busy("lock", to_ms(pause))

    def _held(self, token: int) -> Lease:
        lease = self._leases.get(token)
        if lease is None:
            raise self._lost(token)
        return lease

    def _lost(self, token: int) -> LeaseLost:
        ended = self._ended.get(token)
        return LeaseLost(ended.lease.keys[0], token, WHY_ENDED[ended.how]) if ended else LeaseLost("", token)

    def _answer_repeat(self, request: bytes) -> bool:
        """Answer a repeated request (rule 6). Return False if it is not one."""
        found = self._by_request.get(request)
        if isinstance(found, Lease):
            self.events.append(LockGranted(request, found, repeat=True))
        elif found is None and request in self._ended_requests:
            self._refuse(request, self._lost(self._ended_requests[request]))
        elif found is None and request in self._cancelled:
            self._refuse(request, Cancelled("lock"))
        else:
            return found is not None
        return True

    # Conflicts

    def _first_blocked(self, names: tuple[str, ...], shared: bool) -> str | None:
        """Return the first key that a new request cannot have now, or None."""
        for name in names:
            state = self._keys.get(name)
            if state is not None and (state.queue or not state.admits(shared)):
                return name
            if self._in_grace and name not in self._freed:
                return name
        return None

    def _locked(self, name: str, now: float) -> Locked:
        """Return the reason a key is unavailable: a lease on it, the grace period, or a request ahead in the queue."""
        state = self._keys.get(name)
        if state and state.holders:
            lease = self._leases[next(reversed(state.holders))]
            return Locked(name, lease.owner, to_ms(lease.left(now)))
        if self._in_grace and name not in self._freed:
            return Locked(name, BEFORE_RESTART, to_ms(self._high_water.grace_until - now))
        ahead = self._ahead(state) if state else None
        return Locked(name, ahead.owner, to_ms(max(0.0, ahead.until - now))) if ahead else Locked(name, "", 0)

    @staticmethod
    def _ahead(state: KeyState) -> Waiter | None:
        return next(iter(state.admitted.values()), None) or next(iter(state.queue.values()), None)

    # Waiting

    def _wait(self, waiter: Waiter) -> None:
        waiter.number = self._waiter_number + 1
        self.events.append(Queued(waiter.place))
        self._join(waiter)
        self._settle(waiter.keys)
        self.counts["waited"] += 1

    def _join(self, waiter: Waiter) -> None:
        """Put a waiter in line at all of its keys; the caller settles them."""
        self._waiter_number = max(self._waiter_number, waiter.number)
        self._by_request[waiter.request] = waiter
        self._waiting += 1
        heapq.heappush(self._waiter_times, (waiter.until, waiter.number, waiter))
        if len(self._waiter_times) > 2 * self._waiting + 64:
            self._waiter_times = [entry for entry in self._waiter_times if self._still_waits(entry[2])]
            heapq.heapify(self._waiter_times)
        for name in waiter.keys:
            self._keys.setdefault(name, KeyState()).queue[waiter.number] = waiter

    def _still_waits(self, waiter: Waiter) -> bool:
        return self._by_request.get(waiter.request) is waiter

    def _leave(self, waiter: Waiter) -> None:
        """Remove a waiter from all queues; the caller settles its keys."""
        del self._by_request[waiter.request]
        self._waiting -= 1
        self.events.append(Left(waiter.number))
        for name in waiter.keys:
            state = self._keys[name]
            if state.admitted.pop(waiter.number, None) is None:
                state.queue.pop(waiter.number, None)

    def _settle(self, names: Iterable[str]) -> None:
        """Admit waiters to each key, and grant those that have all their keys now, in order of arrival."""
        ready: list[Waiter] = []
        for name in names:
            state = self._keys.get(name)
            if state is None:
                continue
            if not (self._in_grace and name not in self._freed):
                self._admit(state, ready)
            if state.is_idle():
                del self._keys[name]
        for waiter in sorted(ready, key=lambda waiter: waiter.number):
            self._leave(waiter)
            self._grant(waiter.request, waiter.owner, waiter.keys, waiter.ttl, waiter.shared, waiter.since)

    @staticmethod
    def _admit(state: KeyState, ready: list[Waiter]) -> None:
        while state.queue:
            number, waiter = next(iter(state.queue.items()))
            if not state.admits(waiter.shared):
                return
            del state.queue[number]
            state.admitted[number] = waiter
            state.shared = waiter.shared
            waiter.missing -= 1
            if not waiter.missing:
                ready.append(waiter)

    def _refuse(self, request: bytes, error: DagBoxError) -> None:
        self.events.append(LockRefused(request, error))
        self.counts["refused"] += 1

    def _refuse_late(self, now: float) -> None:
        """Refuse waiters whose time is over; all of them leave before any waiter is admitted (rule 5)."""
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
        """Return the first key that has not admitted a waiter."""
        return next(name for name in waiter.keys if waiter.number in self._keys[name].queue)

    # Leases

    def _grant(
        self, request: bytes, owner: str, names: tuple[str, ...], ttl: float, shared: bool, since: float
    ) -> None:
        self._mark_ttl(ttl)
        self._token += 1
        if self._token > self._high_water.tokens:
            self._mark(self._high_water._replace(tokens=self._token - 1 + self._token_block), durable=True)
        lease = Lease(self._token, names, owner, shared, ttl, self._now + ttl, request)
        self._hold(lease)
        self.events.append(LockGranted(request, lease, waited=max(0.0, self._now - since)))
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
            ended = Ended(lease, how, by, self.ended_number + 1)
            self._remember(ended)
            self.events.append(ended)
            self.counts[how] += 1
        self._settle(dict.fromkeys([*also, *(name for lease in leases for name in lease.keys)]))

    def _expire(self, now: float) -> None:
        over: dict[int, Lease] = {}  # by token: a renewed lease may have several times in the heap
        while self._lease_times and self._lease_times[0][0] <= now:
            lease = self._leases.get(self._lease_times[0][1])
            if lease is not None and lease.expires_at <= now:
                over[lease.token] = lease
            self._drop_lease_time()
        self._end(list(over.values()), "expired", b"")

    def _is_current(self, time: float, token: int) -> bool:
        lease = self._leases.get(token)
        return lease is not None and lease.expires_at == time

    def _drop_lease_time(self) -> None:
        """Pop the first time off the heap; a lease that was renewed since goes back with its new one."""
        time, token = self._lease_times[0]
        lease = self._leases.get(token)
        if lease is not None and lease.expires_at > time:
            heapq.heapreplace(self._lease_times, (lease.expires_at, token))
        else:
            heapq.heappop(self._lease_times)

    def _remember(self, ended: Ended) -> None:
        self.ended_number = ended.number
        self._ended[ended.lease.token] = ended
        self._ended_requests[ended.lease.request] = ended.lease.token
        if ended.by:
            self._ended_by.setdefault(ended.by, []).append(ended.lease.token)
        if len(self._ended) > ENDED_KEPT:
            token, oldest = self._ended.popitem(last=False)
            if self._ended_requests.get(oldest.lease.request) == token:
                del self._ended_requests[oldest.lease.request]
            self._ended_by.pop(oldest.by, None)

    # High-water mark

    def _mark(self, high_water: HighWater, durable: bool) -> None:
        self._high_water = high_water
        self.events.append(HighWaterMoved(high_water, durable))

    def _mark_ttl(self, ttl: float) -> None:
        """Raise the mark before a lease of this length is granted; in steps, since each one costs a sync."""
        rounded = self._saw_ttl(ttl)
        if rounded > self._high_water.max_ttl:
            self._mark(self._high_water._replace(max_ttl=rounded), durable=True)

    def _saw_ttl(self, ttl: float) -> float:
        step = 1.0 if ttl <= 60.0 else 60.0
        rounded = math.ceil(ttl / step) * step
        self._ttl_seen = max(self._ttl_seen, rounded)
        return rounded

    def _lower_max_ttl(self, now: float) -> None:
        """Lower the mark: all leases were granted within the last `max_ttl`, for `_ttl_seen` at most."""
        if self._ttl_seen < self._high_water.max_ttl:
            self._mark(self._high_water._replace(max_ttl=self._ttl_seen), durable=False)
        self._ttl_since = now
        self._ttl_seen = 0.0

    def _describe(self, name: str) -> KeyInfo:
        state = self._keys[name]
        waiters = [*state.admitted.values(), *state.queue.values()]
        return KeyInfo(
            name,
            [self._leases[token] for token in state.holders],
            [Waiting(waiter.owner, self._now - waiter.since, waiter.shared) for waiter in waiters],
        )
