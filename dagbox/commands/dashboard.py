"""The dashboard beside a node: `dagbox up` and `dagbox demo` in a terminal.

The node of `dagbox up` is then a process of its own, which logs into its directory. It sees the end of its standard
input when the process with the dashboard dies, however it dies, and ends itself.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from dagbox.commands.output import note

LOG_FILE = "node.log"
READY = "dagbox: serving"
STOP_S = 8.0
"""How long the node may take to end before it is killed, in seconds."""
_POLL_S = 0.1


def wanted(headless: bool) -> bool:
    """Whether there is a terminal for the dashboard, and nobody said `--headless`."""
    return not headless and sys.stdin.isatty() and sys.stdout.isatty() and find_spec("dagbox.commands.top") is not None


def run_with_dashboard(directory: str, arguments: Sequence[str]) -> int:
    """Run a node as a process of its own, and the dashboard on it; leaving the dashboard ends the node.

    Args:
        arguments: of `dagbox up`, besides the directory.

    Returns:
        The exit status: that of the node if it did not come up, else that of the dashboard.
    """
    from dagbox.tui.app import run_dashboard
    from dagbox.tui.options import Options

    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    log = path / LOG_FILE
    note(f"dagbox: starting a node on {directory}; it logs to {log}")
    with log.open("ab") as written, log.open("rb") as read:
        read.seek(0, os.SEEK_END)
        command = [sys.executable, "-m", "dagbox", "up", directory, "--headless", "--attached", *arguments]
        node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=written, stderr=written, start_new_session=True)
        try:
            if not _comes_up(node, read):
                return node.wait()
            return run_dashboard(Options(target=directory))
        finally:
            note("dagbox: stopping the node")
            _end(node)


def _comes_up(node: subprocess.Popen[bytes], log: IO[bytes]) -> bool:
    """Wait until the log says that the node is ready. If it ends instead, show what it logged."""
    seen = b""
    while READY.encode() not in seen:
        seen += log.read()
        if node.poll() is not None:
            note((seen + log.read()).decode(errors="replace").strip())
            return False
        try:
            node.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            continue
    return True


def _end(node: subprocess.Popen[bytes]) -> None:
    if node.stdin is not None:
        node.stdin.close()
    node.terminate()
    try:
        node.wait(STOP_S)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()


def end_with_standard_input() -> None:
    """Have this process told to stop, as by SIGTERM, when its standard input ends."""

    def watch() -> None:
        while os.read(0, 4096):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="standard input", daemon=True).start()


def open_on_enter(directory: str, stopping: threading.Event) -> None:
    """Open the dashboard each time Enter is pressed, until told to stop; ends the dashboard then."""
    while not stopping.is_set():
        if not select.select([sys.stdin], [], [], _POLL_S)[0]:
            continue
        if not sys.stdin.readline():
            return
        dashboard = subprocess.Popen([sys.executable, "-m", "dagbox", "top", directory])
        _wait_or_end(dashboard, stopping.is_set)
        if not stopping.is_set():
            note("Enter opens the dashboard, Ctrl-C ends the demo.")


def _wait_or_end(process: subprocess.Popen[bytes], stopping: Callable[[], bool]) -> None:
    while process.poll() is None:
        try:
            process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            if stopping():
                process.terminate()
