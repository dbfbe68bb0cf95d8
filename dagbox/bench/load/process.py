"""One process of a run: clients that make requests, and what they tell.

It reads its task from standard input as one line of JSON, says that it is ready, waits for the line `begin SECONDS`
(monotonic), makes requests until their time is over or the line `stop` or the end of the input comes, and tells what it
measured window by window, as lines of JSON on standard output.

Rules:

1. It runs in a session of its own: Ctrl-C reaches the process that started it, which says when to stop.
2. What the program of a user prints is not among the answers: those have a descriptor of their own.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain, islice, repeat
from typing import Any, TextIO

from dagbox.bench.load.choice import DRAWN, chooser
from dagbox.bench.load.dagbox import DagBoxSide
from dagbox.bench.load.plan import CUSTOM, AwaitedRequest, Keys, Plan, Request, key_of
from dagbox.bench.load.schedule import Schedule
from dagbox.bench.load.slots import WINDOW_S, Part, Recorder, merged, own_time, run_slot, run_task


class LoadProcess:
    """The clients of this process.

    Args:
        first, clients: which clients of the plan these are.
        say: called with each map for the process that started this one.
    """

    def __init__(
        self, plan: Plan, side: DagBoxSide, first: int, clients: int, say: Callable[[dict[str, Any]], None]
    ) -> None:
        self._plan = plan
        self._side = side
        self._first = first
        self._clients = clients
        self._say = say
        self.stop = threading.Event()
        self._begun = threading.Event()
        self._begin = 0.0
        self._parts: queue.SimpleQueue[Part | None] = queue.SimpleQueue()

    def begin(self, at: float) -> None:
        """Have the requests begin at a time, in monotonic seconds."""
        self._begin = at
        self._begun.set()

    def run(self) -> None:
        """Connect, say so, make requests once told, and tell about them."""
        own = own_time()
        if self._plan.in_flight > 1:
            asyncio.run(self._run_tasks(own))
        else:
            self._run_threads(own)

    def _keys(self) -> Iterator[Keys]:
        """Yield choosers of keys: the same choices for all, each from another place on."""
        source = random.Random(self._plan.seed * 1_000_003 + self._first)
        names = None if self._plan.own else names_in(self._side, self._plan)
        choose = chooser(self._plan.distribution, self._plan.keys, source)
        drawn = [
            key_of(choose()) if names is None else names[choose()]
            for _ in range(min(DRAWN, max(1000, 8 * self._plan.keys)))
        ]
        while True:
            start = source.randrange(len(drawn))
            # Without a copy: there may be a thousand clients.
            yield chain(islice(drawn, start, None), chain.from_iterable(repeat(drawn))).__next__

    def _ready(self, own: float) -> None:
        """Say that all are connected, and wait for the begin."""
        self._say({"state": "ready", "overhead": own})
        self._begun.wait()

    def _schedule(self, slot: int) -> Schedule:
        number = self._first * self._plan.in_flight + slot
        return Schedule(self._plan.rate, self._plan.slots, number, self._plan.duration_s)

    def _run_threads(self, own: float) -> None:
        slots, choosers = self._clients * self._plan.in_flight, self._keys()
        ended: list[float] = []
        failures: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        connected = threading.Barrier(slots + 1)

        def work(slot: int, keys: Keys) -> None:
            try:
                with self._side.blocking(self._plan, keys) as request:
                    self._try(request)
                    connected.wait()
                    self._begun.wait()
                    recorder = Recorder(self._begin, self._parts.put)
                    end = self._begin + self._plan.duration_s
                    ended.append(run_slot(request, self._schedule(slot), recorder, end, self.stop))
            except threading.BrokenBarrierError:
                return
            except BaseException as error:  # noqa: BLE001 handed to the process that waits for this one
                failures.put(error)
                connected.abort()

        threads = [threading.Thread(target=work, args=(slot, next(choosers)), daemon=True) for slot in range(slots)]
        for thread in threads:
            thread.start()
        try:
            connected.wait()
        except threading.BrokenBarrierError:
            raise failures.get() from None
        self._ready(own)
        with self._telling():
            for thread in threads:
                thread.join()
        if not failures.empty():
            raise failures.get()
        self._say({"state": "end", "at": max(ended)})

    async def _run_tasks(self, own: float) -> None:
        choosers = self._keys()
        async with _AsyncStack() as stack:
            requests = []
            for _ in range(self._clients):
                request = await stack.enter(self._side.awaited(self._plan, next(choosers)))
                if self._plan.workload != CUSTOM:
                    await request()
                requests.append(request)
            await asyncio.to_thread(self._ready, own)
            recorder = Recorder(self._begin, self._parts.put)
            end = self._begin + self._plan.duration_s
            with self._telling():
                ended = await asyncio.gather(
                    *(
                        run_task(requests[slot // self._plan.in_flight], self._schedule(slot), recorder, end, self.stop)
                        for slot in range(self._clients * self._plan.in_flight)
                    )
                )
                recorder.flush()
        self._say({"state": "end", "at": max(ended)})

    def _try(self, request: Request) -> None:
        """Make one request before the run: what it loads and connects is no part of it."""
        if self._plan.workload != CUSTOM:
            request()

    def _telling(self) -> ExitStack:
        """Tell the parts from a thread of its own while the block runs, those of one window together."""
        stack = ExitStack()
        thread = threading.Thread(target=self._tell, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(self._parts.put, None)
        return stack

    def _tell(self) -> None:
        over = False
        while not over:
            parts = [self._parts.get()]
            time.sleep(WINDOW_S / 4)
            while not self._parts.empty():
                parts.append(self._parts.get())
            over = None in parts
            for line in merged(part for part in parts if part is not None):
                self._say(line)


class _AsyncStack:
    """An exit stack of async contexts whose entries are typed."""

    def __init__(self) -> None:
        from contextlib import AsyncExitStack

        self._stack = AsyncExitStack()

    async def __aenter__(self) -> _AsyncStack:
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    async def enter(self, context: Any) -> AwaitedRequest:
        """Enter a context that ends with the stack."""
        request: AwaitedRequest = await self._stack.enter_async_context(context)
        return request


def names_in(side: DagBoxSide, plan: Plan) -> list[str]:
    """Return the keys of a bucket that is read as it is, as many as the plan says."""
    with side.open(readonly=True) as db:
        return [record.key for record in db.scan(plan.bucket, limit=plan.keys, keys_only=True)]


def _obey(process: LoadProcess, lines: TextIO) -> None:
    """Do what the lines of the input say; their end means that the run has nobody to tell any more."""
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "begin":
            process.begin(float(rest))
        elif word == "stop":
            process.stop.set()
    process.stop.set()
    process.begin(time.monotonic())


def main() -> int:
    """Run the task on standard input; return the exit status."""
    # A program of the user's may print: what it prints is no answer of ours.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    mutex = threading.Lock()

    def say(what: dict[str, Any]) -> None:
        with mutex:
            answers.write(json.dumps(what) + "\n")
            answers.flush()

    task = json.loads(sys.stdin.readline())
    try:
        plan, side = Plan.from_map(task["plan"]), DagBoxSide(**task["side"])
        process = LoadProcess(plan, side, task["first"], task["clients"], say)
        threading.Thread(target=_obey, args=(process, sys.stdin), daemon=True).start()
        process.run()
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001 told in one line by the process that started this one
        say({"state": "failed", "error": str(error) or type(error).__name__})
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    # The thread that reads the input holds its lock: an ordinary exit would wait for a line that never comes.
    sys.stderr.flush()
    os._exit(status)
