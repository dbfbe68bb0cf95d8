"""Ten times more requests than a service can do: what is still answered in time, and who notices.

overload   one worker that takes 2 ms for a request; 16 clients that ask as fast as they are answered (the peak);
           then ten times that rate for ten seconds, each request with a deadline of a second; beside it an operator
           who asks for the status; at the end the time until a request is answered at once again
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import zmq

import dagbox
from dagbox.bench.report import FULL, Effort, Figure, at_least, at_most
from dagbox.protocol.values import pack
from dagbox.transport import sockets
from dagbox.transport.address import node_address
from dagbox.transport.core import ClientCore, Completed

WORK_S = 0.002
CLIENTS = 16
PEAK_SPAN_S = 3.0
SPAN_S = 10.0
DEADLINE_S = 1.0
TIMES = 10
_SLEEPER = f"""
import sys, time, dagbox
@dagbox.service("work")
def work(payload, request):
    time.sleep({WORK_S})
    return payload
dagbox.serve(work, connect=sys.argv[1])
"""


def overload(effort: Effort = FULL) -> list[Figure]:
    """Measure a service under ten times the load that it can bear."""
    with tempfile.TemporaryDirectory() as directory:
        data = str(Path(directory) / "data")
        node = subprocess.Popen([sys.executable, "-m", "dagbox", "up", data], stderr=subprocess.DEVNULL)
        worker = None
        try:
            _until_ready(data, "writer")
            worker = subprocess.Popen([sys.executable, "-c", _SLEEPER, data], stderr=subprocess.DEVNULL)
            _until_ready(data, "work")
            return _measure(data, effort)
        finally:
            for process in (worker, node):
                if process is not None:
                    process.terminate()
                    process.wait(10)


def _measure(data: str, effort: Effort) -> list[Figure]:
    with dagbox.connect(data, direct=False) as operator:
        memory = _broker_bytes(operator)
        span_s = effort.seconds(SPAN_S)
        peak = _peak(data, effort.seconds(PEAK_SPAN_S))
        flood = _Flood(node_address(data), TIMES * peak)
        asked: list[float] = []
        flood.start()
        end = time.monotonic() + span_s
        while time.monotonic() < end:
            began = time.monotonic()
            operator.status()
            asked.append((time.monotonic() - began) * 1e3)
            time.sleep(0.05)
        used = _broker_bytes(operator) - memory
        flood.stop()
        recovered = _until_served(operator)
        kept = _broker_bytes(operator) - memory
        lost = [worker.name for worker in operator.workers() if worker.state == "dead"]
    asked.sort()
    return [
        Figure("peak: answers to 16 clients that wait for them", peak, "per s"),
        Figure("sent", flood.sent / span_s, "per s"),
        at_least("answered in time / peak", flood.answered / span_s / peak, "x", 0.9),
        at_most("workers called lost", len(lost), "", 0),
        Figure("status of an operator meanwhile, median", statistics.median(asked), "ms"),
        at_most("status of an operator meanwhile, p99", asked[int(len(asked) * 0.99)], "ms", 100),
        Figure("memory of the broker, more than before, at the end", used / 2**20, "MiB"),
        Figure("the same after it was over", kept / 2**20, "MiB"),
        at_most("until a request is served at once again", recovered, "s", 2),
    ]


def _until_ready(data: str, service: str) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with dagbox.connect(data, direct=False) as db:
                if any(each.name == service and each.live for each in db.services()):
                    return
        except dagbox.DagBoxError:
            pass
        time.sleep(0.05)
    raise dagbox.CannotConnect(data, f"nobody serves {service}")


def _broker_bytes(db: dagbox.Database) -> int:
    with open(f"/proc/{db.status().broker.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _peak(data: str, span_s: float) -> float:
    counts = [0] * CLIENTS
    end = time.monotonic() + span_s

    def ask(number: int) -> None:
        with dagbox.connect(data, direct=False) as db:
            while time.monotonic() < end:
                db.call("work", number)
                counts[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / span_s


def _until_served(db: dagbox.Database) -> float:
    """Return the seconds until a request is answered within ten times its work."""
    began = time.monotonic()
    while time.monotonic() < began + 30:
        try:
            db.call("work", 1, timeout=10 * WORK_S)
        except dagbox.DagBoxError:
            continue
        return time.monotonic() - began
    return float("inf")


class _Flood(threading.Thread):
    """A client that sends at a rate, whatever comes back; counts the replies that come before the deadline."""

    def __init__(self, address: str, rate: float) -> None:
        super().__init__(daemon=True)
        self.sent = self.answered = 0
        self._rate = rate
        self._over = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._core = ClientCore(os.urandom(8), max_in_flight=1 << 20)
        self._socket = sockets.dealer(self._context, self._core.client, address)

    def run(self) -> None:
        began = time.monotonic()
        while not self._over.is_set():
            due = int((time.monotonic() - began) * self._rate)
            while self.sent < due and not self._over.is_set():
                self.sent += 1
                try:
                    _, message = self._core.request("work", pack(1), time.monotonic(), DEADLINE_S)
                    sockets.send_dealer(self._socket, message.head, message.tail)
                except (zmq.Again, dagbox.DagBoxError):
                    break
                self._take()
            self._take()
            time.sleep(0.001)
        self._socket.close(linger=0)
        self._context.term()

    def _take(self) -> None:
        messages: list[tuple[bytes, bytes | None]] = sockets.receive_messages(self._socket, 1000)
        if messages:
            _, events = self._core.turn(messages, time.monotonic())
            self.answered += sum(isinstance(event, Completed) for event in events)
        self._core.tick(time.monotonic())

    def stop(self) -> None:
        """Send no more, and leave."""
        self._over.set()
        self.join()
