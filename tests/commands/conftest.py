"""The command line in this process, and a node in others."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.cli import main

ROOT = Path(__file__).parents[2]


@dataclass
class Ended:
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[Any]:
        """Return the JSON documents on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ended]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in a directory of the test's own, without the variables that settings come from."""
    for name in list(os.environ):
        if name.startswith("DAGBOX_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command line with `stdin` as its standard input."""

    def run_command(*arguments: object, stdin: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Ended(status, out, err)

    return run_command


def start(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    """Start a command line as a process of its own, its output in pipes."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more.pop("env", {})
    return subprocess.Popen(
        [sys.executable, "-m", "dagbox", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **more,
    )


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read a process's standard error until a line has the text, and return what was read."""
    read = ""
    assert process.stderr is not None
    for line in process.stderr:
        read += line
        if text in line:
            return read
    raise AssertionError(f"the process ended without saying {text!r}:\n{read}")


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return `start`; its processes end with the test."""
    processes: list[subprocess.Popen[str]] = []

    def spawn_process(*arguments: str, **more: Any) -> subprocess.Popen[str]:
        processes.append(start(*arguments, **more))
        return processes[-1]

    yield spawn_process
    for process in processes:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_for_reports(directory: str) -> None:
    """Wait until the workers have reported their figures for the first time."""
    end = time.monotonic() + 20
    with dagbox.connect(directory) as db:
        while not (db.status().store and db.status().locks):
            assert time.monotonic() < end, "the workers report no figures"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The directory of a running node."""
    directory = tmp_path_factory.mktemp("node") / "data"
    process = start("up", str(directory), "--readers", "1", "--headless")
    try:
        read_until(process, "dagbox: serving")
        _wait_for_reports(str(directory))
        yield str(directory)
    finally:
        process.terminate()
        process.communicate(timeout=15)
