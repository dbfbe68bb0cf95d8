"""Nodes as processes, for tests: started, watched through their own status, ended by id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagbox
from dagbox.errors import DagBoxError

ROOT = str(Path(__file__).resolve().parents[2])
ENVIRONMENT = {**os.environ, "PYTHONPATH": ROOT}
UP = "import sys; from dagbox.runtime.process import start_logging; start_logging();"
UP += "from dagbox.runtime.supervisor import run_node, NodeSettings;"
UP += "settings = NodeSettings(readers=int(sys.argv[2]), durability='process', hung_s=float(sys.argv[3]));"
UP += "sys.exit(run_node(sys.argv[1], settings=settings,"
UP += " on_ready=lambda node: print('ready', flush=True)))"


def start_program(*arguments: str, code: str | None = None) -> subprocess.Popen[str]:
    """A Python program of ours: `-m` arguments, or code with arguments."""
    how = ["-c", code] if code is not None else ["-m"]
    return subprocess.Popen(
        [sys.executable, *how, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )


class Program:
    """A running program whose lines are collected as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=self._collect, args=(stream,)) for stream in (process.stdout, process.stderr)
        ]
        for thread in self._threads:
            thread.start()

    def _collect(self, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self.lines.append(line.rstrip())
                    self._news.notify_all()

    def wait_for(self, text: str, timeout_s: float = 20.0) -> str:
        """The first line that contains a text, once it is there."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._news:
            assert self._news.wait_for(lambda: bool(found()), timeout_s), f"no {text!r} in {self.lines}"
            return found()[0]

    def end(self, number: int = signal.SIGTERM, timeout_s: float = 10.0) -> int:
        """Send a signal and wait; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            for thread in self._threads:
                thread.join(5.0)


@contextmanager
def running(*arguments: str, code: str | None = None) -> Iterator[Program]:
    """A program that is ended at the latest with the block."""
    program = Program(start_program(*arguments, code=code))
    try:
        yield program
    finally:
        program.end()


@contextmanager
def node_on(directory: Path, readers: int = 1, hung_s: float = 30.0) -> Iterator[Program]:
    """A node that is ready."""
    with running(str(directory), str(readers), str(hung_s), code=UP) as program:
        program.wait_for("ready")
        yield program


def until(condition: Callable[[], Any], timeout_s: float = 15.0) -> Any:
    """What a condition is once it is true; errors of the database count as not yet."""
    end = time.monotonic() + timeout_s
    gap = threading.Event()
    while True:
        try:
            value = condition()
        except DagBoxError as error:
            value = None
            last: object = error
        else:
            last = value
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {last!r}"
        gap.wait(0.01)


def processes(db: Any) -> dict[str, dict[str, Any]]:
    """The processes of a node, by name."""
    return {child["name"]: child for child in db.call("node", {"op": "list"}, timeout=5)}


def worker_states(db: Any) -> dict[str, str]:
    return {worker.name: worker.state for worker in db.status().workers}


class Load:
    """Clients in threads that write, each of its keys once, and remember what was acknowledged."""

    def __init__(self, directory: Path, clients: int = 3) -> None:
        self.acknowledged: dict[str, int] = {}
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._threads = [threading.Thread(target=self._run, args=(directory, n)) for n in range(clients)]

    def _run(self, directory: Path, client: int) -> None:
        count = 0
        with dagbox.connect(directory) as db:
            while not self._stop.is_set():
                count += 1
                key = f"c{client}-{count}"
                try:
                    # A write that is applied twice would meet its own record, and fail.
                    ref = db.put("log", {"count": count}, key=key, if_version=0)
                    assert db.get("log", key) == {"count": count}
                except DagBoxError as error:
                    self.failures.append(f"{key}: {type(error).__name__}: {error}")
                    continue
                with self._progress:
                    self.acknowledged[key] = ref.version
                    self._progress.notify_all()

    def wait_for_more(self, count: int = 30, timeout_s: float = 10.0) -> float:
        """Wait until so many more writes are acknowledged; how long that took."""
        began = time.monotonic()
        with self._progress:
            wanted = len(self.acknowledged) + count
            assert self._progress.wait_for(lambda: len(self.acknowledged) >= wanted, timeout_s), self.failures[-3:]
        return time.monotonic() - began

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30.0)
        assert not any(thread.is_alive() for thread in self._threads)
