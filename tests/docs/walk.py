"""Walks through a page as a newcomer would: executes its code blocks, in order, in one directory.

A Python block begins with the name of its file. What its `print` lines give must be what the comments at their ends
say. What the text calls "in a terminal of its own" runs until the end.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import dagbox

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN_TERMINAL = "in a terminal of its own"


class Block(NamedTuple):
    """A code block: its language, its text, and whether it runs in a terminal of its own."""

    language: str
    text: str
    own_terminal: bool


def blocks_of(text: str) -> list[Block]:
    blocks, end = [], 0
    for match in FENCE.finditer(text):
        before = text[end : match.start()].strip().rpartition("\n\n")[2].lower()
        blocks.append(Block(match[1], match[2], OWN_TERMINAL in " ".join(before.split())))
        end = match.end()
    return blocks


def environment(place: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DAGBOX_")}
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return clean | {"PYTHONPATH": str(ROOT), "PATH": path, "NO_COLOR": "1"}


class Terminals:
    """Programs that run in terminals of their own."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, command: str) -> None:
        """Start a command, and wait until a client would find what it serves."""
        before = self._served()
        log = (self._place / f"terminal-{len(self._processes)}.log").open("wb")
        with log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self._place, env=environment(self._place), stdout=log, stderr=log
            )
        self._processes.append(process)
        end = time.monotonic() + 30
        while self._served() <= before or not {"reader", "writer", "lock", "logic", "node"} <= self._served():
            assert process.poll() is None, f"{command} ended"
            assert time.monotonic() < end, f"{command} serves nothing"
            time.sleep(0.02)

    def _served(self) -> set[str]:
        try:
            with dagbox.connect(self._place / "data", timeout=5) as db:
                return {service.name for service in db.services() if service.live}
        except dagbox.CannotConnect:
            return set()

    def close(self) -> list[int]:
        """End them as Ctrl-C does, the latest first; their exit statuses."""
        statuses = []
        for process in reversed(self._processes):
            process.send_signal(2)
            try:
                statuses.append(process.wait(15))
            except subprocess.TimeoutExpired:
                process.kill()
                statuses.append(process.wait())
        self._processes.clear()
        return statuses


def expected_output(text: str) -> list[str]:
    """What the comments at the ends of `print` lines say."""
    return re.findall(r"^\s*print\(.*\)  # (.*)$", text, re.MULTILINE)


def run_python(block: Block, place: Path, terminals: Terminals) -> None:
    first = block.text.partition("\n")[0]
    name = re.fullmatch(r"# (\w+\.py)", first)
    assert name, f"a Python block begins with the name of its file, not {first!r}"
    (place / name[1]).write_text(block.text)
    if block.own_terminal:
        terminals.run(f"python {name[1]}")
        return
    ended = run_in(place, [sys.executable, name[1]])
    assert ended.stdout.splitlines() == expected_output(block.text)


def run_in(place: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(command, cwd=place, env=environment(place), capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, ""), command
    return ended


def run(block: Block, place: Path, terminals: Terminals) -> None:
    """Execute a block, and check what it printed."""
    assert block.language in ("python", "sh"), f"nobody executes a block of {block.language!r}"
    (run_python if block.language == "python" else run_shell)(block, place, terminals)


def run_shell(block: Block, place: Path, terminals: Terminals) -> None:
    for line in block.text.splitlines():
        if line.startswith("make "):
            # What make would do is what this run of the tests stands in.
            assert run_in(ROOT, ["make", "--dry-run", line.removeprefix("make ")]).stdout
        elif block.own_terminal:
            terminals.run(line)
        else:
            assert run_in(place, ["bash", "-c", line]).stdout or "export" in line
