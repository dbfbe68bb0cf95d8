"""Run a dashboard with a node: `dagbox up` and `dagbox demo` in a terminal.

The node of `dagbox up` is then a process of its own that logs into its directory. Its standard input is a pipe from the
process with the dashboard: when that process dies, for whatever reason, the node sees the end of the pipe and stops.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from dagbox.text.files import make_private_directory, private
from dagbox.text.streams import note, print_line

LOG_FILE = "node.log"
READY = "dagbox: serving"
STOP_S = 8.0
"""Seconds that the node may take to stop before it is killed."""
_POLL_S = 0.1


def wants_dashboard(headless: bool) -> bool:
    """Return True if there is a terminal for the dashboard, unless `headless`."""
    return not headless and sys.stdin.isatty() and can_show_dashboard()


def can_show_dashboard() -> bool:
    """Return True if the terminal can show the dashboard, which draws on standard error and moves its cursor."""
    return sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def tell_of_standard_error() -> None:
    """Say on the terminal that standard error is none, where messages about that are not seen."""
    if sys.stdout.isatty() and not sys.stderr.isatty():
        print_line("dagbox: no dashboard is shown: standard error goes elsewhere, which is where it would be drawn")


def run_with_dashboard(directory: str, arguments: Sequence[str]) -> int:
    """Run a node as a process of its own, and the dashboard on it; leaving the dashboard stops the node.

    Args:
        arguments: flags of `dagbox up`.

    Returns:
        The exit status: that of the node if it did not start, else that of the dashboard.
    """
    from dagbox.tui.app import run_dashboard
    from dagbox.tui.options import Options

    path = Path(directory)
    make_private_directory(path)
    log = path / LOG_FILE
    note(f"dagbox: starting a node on {directory}; it logs to {log}")
    with open(log, "ab", opener=private) as written, log.open("rb") as read:
        read.seek(0, os.SEEK_END)
        command = [sys.executable, "-m", "dagbox", "up", directory, "--headless", "--attached", *arguments]
        node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=written, stderr=written, start_new_session=True)
        try:
            if not _starts(node, read):
                return node.wait()
            return run_dashboard(Options(target=directory, owns_node=True))
        finally:
            note("dagbox: stopping the node")
            _stop(node)


def _starts(node: subprocess.Popen[bytes], log: IO[bytes]) -> bool:
    """Wait until the log says that the node is ready. If it exits instead, print what it logged."""
    seen = b""
    while READY.encode() not in seen:
        seen += log.read()
        if node.poll() is not None:
            for line in (seen + log.read()).decode(errors="replace").strip().split("\n"):
                note(line)
            return False
        try:
            node.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            continue
    return True


def _stop(node: subprocess.Popen[bytes]) -> None:
    if node.stdin is not None:
        node.stdin.close()
    node.terminate()
    try:
        node.wait(STOP_S)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()


def stop_with_standard_input() -> None:
    """Send this process SIGTERM when its standard input ends."""

    def watch() -> None:
        while os.read(0, 4096):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="standard input", daemon=True).start()


def open_on_enter(directory: str, stopping: threading.Event) -> None:
    """Open the dashboard each time Enter is pressed, until `stopping` is set; then stop the dashboard too."""
    while not stopping.is_set():
        if not select.select([sys.stdin], [], [], _POLL_S)[0]:
            continue
        if not sys.stdin.readline():
            return
        dashboard = subprocess.Popen([sys.executable, "-m", "dagbox", "top", directory])
        _wait_or_terminate(dashboard, stopping.is_set)
        if not stopping.is_set():
            note("Enter opens the dashboard, Ctrl-C stops the demo.")


def _wait_or_terminate(process: subprocess.Popen[bytes], stopping: Callable[[], bool]) -> None:
    while process.poll() is None:
        try:
            process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            if stopping():
                process.terminate()
