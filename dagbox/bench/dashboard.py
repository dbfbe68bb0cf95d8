"""The cost of a refresh of the dashboard, and of being watched for a node.

refresh    CPU time of this process for one poll of 200 workers and 50 services, drawn at 200x60 with all tables and
           graphs; the process does nothing else
watched    reads through the broker, one to a request, 64 in flight, in turns while a dashboard in a process of its own
           polls every second and while it is stopped. The cost is computed from the CPU time that the node's
           processes take for a read: throughput would reflect the machine's other work
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from typing import Any

import psutil

import dagbox
from dagbox import aio
from dagbox.bench.bounds import table
from dagbox.bench.core import node_processes
from dagbox.bench.report import FULL, Effort, Figure, at_most
from dagbox.tui.app import Dashboard, open_session
from dagbox.tui.options import Options
from dagbox.tui.poller import Polled
from dagbox.tui.polling.request import Map, PollRequest
from dagbox.tui.session import Session

WORKERS = 200
SERVICES = 50
SIZE = (200, 60)
POLLS = 40
TURNS = 8
WINDOW_S = 2.0
IN_FLIGHT = 64


def refresh_cost(effort: Effort = FULL) -> list[Figure]:
    """Measure the cost of one refresh for a large node."""
    times = asyncio.run(_refreshes(effort.count(POLLS)))
    return [
        at_most(f"refresh, {WORKERS} workers, {SERVICES} services: CPU", statistics.median(times) * 1e3, "ms", 50),
        Figure("the slowest of them", max(times) * 1e3, "ms"),
    ]


def watching_cost(effort: Effort = FULL) -> list[Figure]:
    """Measure how much of a node's throughput being watched takes."""
    span_s = effort.seconds(WINDOW_S)
    with node_processes() as (_, address):
        command = [sys.executable, "-m", "dagbox.bench.dashboard", address]
        watcher = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert watcher.stdout is not None
        try:
            watcher.stdout.readline()
            with dagbox.connect(address) as db:
                db.put("bench", {"x": 1}, key="k")
                status = db.status()
            node = [psutil.Process(pid) for pid in {status.broker.pid, *(each.pid for each in status.workers)}]
            free: list[tuple[float, float]] = []
            watched: list[tuple[float, float]] = []
            for _ in range(effort.count(TURNS)):
                free.append(_reads(address, node, watcher, signal.SIGSTOP, span_s))
                watched.append(_reads(address, node, watcher, signal.SIGCONT, span_s))
        finally:
            watcher.kill()
            watcher.wait()
            watcher.stdout.close()
    (free_rate, free_us), (watched_rate, watched_us) = (
        (statistics.median(rate for rate, _ in turns), statistics.median(us for _, us in turns))
        for turns in (free, watched)
    )
    return [
        Figure("reads, nobody watches", free_rate, "per s"),
        Figure("reads, a dashboard polls every second", watched_rate, "per s"),
        Figure("CPU of the node for a read, nobody watches", free_us, "us"),
        Figure("CPU of the node for a read, watched", watched_us, "us"),
        table.WATCHED.figure((1 - free_us / watched_us) * 100)
        if watched_us
        else table.WATCHED.not_measured("the run was too short to take time of the processor"),
    ]


def _reads(
    address: str, node: list[psutil.Process], watcher: subprocess.Popen[bytes], sign: signal.Signals, span_s: float
) -> tuple[float, float]:
    """Return reads per second, and the node's CPU time for each in us, while the watcher runs or is stopped."""
    os.kill(watcher.pid, sign)
    before = _cpu_s(node)
    rate = asyncio.run(_read(address, span_s))
    return rate, (_cpu_s(node) - before) / (rate * span_s) * 1e6


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


async def _read(address: str, span_s: float) -> float:
    async with aio.connect(address) as db:
        record = {"bucket": "bench", "key": "k"}
        end = time.perf_counter() + span_s

        async def one() -> int:
            done = 0
            while time.perf_counter() < end:
                await db.call("reader", record, repeatable=True)
                done += 1
            return done

        counts = await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))
    return sum(counts) / span_s


class _Polls:
    """A source without polls: these come by message."""

    name = "bench"
    live = True

    def polls(self, request: PollRequest) -> list[Map]:
        return []

    def close(self) -> None:
        return None


async def _refreshes(polls: int) -> list[float]:
    session = Session(_Polls(), refresh_s=60, first=[large_poll(0)])
    app = Dashboard(session, Options())
    times = []
    async with app.run_test(size=SIZE) as pilot:
        for second in range(1, polls + 1):
            poll = large_poll(second)
            await pilot.pause()
            began = time.process_time()
            app.post_message(app.Delivered(Polled([poll])))
            await pilot.pause()
            await asyncio.sleep(1 / 30)
            await pilot.pause()
            times.append(time.process_time() - began)
    session.close()
    return times[polls // 4 :]


def large_poll(second: int) -> Map:
    """Return a poll of a large node in which every row changes."""
    times = {"count": 9, "mean_ms": 1.0, "p50_ms": 1.0 + second, "p90_ms": 2.0, "p99_ms": 3.0 + second, "max_ms": 9.0}
    services = [
        {
            "name": f"service-{number:02d}",
            "waiting": (number * 7 + second * 3) % 200,
            "waiting_bytes": 1000 * second,
            "held": 0,
            "in_flight": (number + second) % 9,
            "live": 4,
            "late": 0,
            "draining": 0,
            "dead": 0,
            "paused": False,
            "done": 1000 * second + number,
            "errors": second,
            "refused": 0,
            "redelivered": 0,
            "rate": 100.0 + (number * second) % 50,
            "wait": times,
            "work": times,
            "line": times,
            "in_line": 0,
        }
        for number in range(SERVICES)
    ]
    return {
        "at": 1_760_000_000.0 + second,
        "broker": {"epoch": "00", "uptime_ms": 1000.0 * second, "clients": 9, "requests": 99, "dead_letters": 0},
        "services": services,
        "workers": [_worker(number, second) for number in range(WORKERS)],
        "store": {},
        "events": []
        if second % 10
        else [{"seq": second + 1, "age_ms": 0.0, "kind": "joined", "subject": "w", "text": ""}],
    }


def _worker(number: int, second: int) -> dict[str, Any]:
    return {
        "name": f"worker-{number:03d}",
        "service": f"service-{number % SERVICES:02d}",
        "id": f"{number:08x}",
        "pid": 1000 + number,
        "host": "host",
        "state": "live",
        "heard_ms": float((number * 13 + second * 7) % 500),
        "pings": 2 * second,
        "age_ms": 1000.0 * second,
        "credit": 64,
        "in_use": (number + second) % 64,
        "done": 100 * second + number,
        "errors": 0,
        "rate": float((number * second) % 90),
        "cpu": float((number + second) % 100),
        "rss": 50_000_000 + second,
        "repeatable": True,
    }


def _watch(address: str) -> None:
    """Watch a node without a terminal, until killed."""
    options = Options(target=address)
    session = open_session(options)
    print("watching", flush=True)
    Dashboard(session, options).run(headless=True, size=SIZE)


if __name__ == "__main__":
    _watch(sys.argv[1])
