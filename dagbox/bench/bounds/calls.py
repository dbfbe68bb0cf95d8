"""Counts of what a get through the broker has the system do: noise of the machine does not reach them.

calls      a node of processes, and a client that makes one get after another with `direct=False`: wake-ups (voluntary
           context switches) of all threads of node and client, from /proc; system calls of the same, counted by strace
           if it is installed. The heartbeats meanwhile are in both
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagbox
from dagbox.bench.bounds import table
from dagbox.bench.core import RECORD, node_processes
from dagbox.bench.report import FULL, Effort, Figure

GETS = 200
TURNS = 15


def calls_of_a_get(effort: Effort = FULL) -> list[Figure]:
    """Count wake-ups and system calls of gets through the broker."""
    with node_processes(data_socket=True) as (data, _):
        wake_ups, system_calls, why = counts(data, effort.count(GETS), effort.count(TURNS))
    return [
        table.WAKE_UPS.figure(statistics.median(wake_ups)),
        table.SYSTEM_CALLS.figure(statistics.median(system_calls))
        if system_calls
        else table.SYSTEM_CALLS.not_measured(why),
    ]


def counts(data: str, gets: int, turns: int) -> tuple[list[float], list[float], str]:
    """Return the wake-ups and the system calls of a get of a node in each turn, and why there are none of the latter.

    For a second after a read that took long, because its page or the processor was not there, the readers make the
    gets, which takes twice as many: turns are short so that most have no such second.
    """
    strace, system_calls, why = shutil.which("strace"), list[float](), ""
    with dagbox.connect(data) as db:
        db.put("user", RECORD, key="ada")
        status = db.status()
    with _client(data) as client:
        pids = [client.pid, *sorted({status.broker.pid, *(worker.pid for worker in status.workers)})]
        wake_ups = [_wake_ups(client, pids, gets) for _ in range(turns)]
        try:
            if strace is None:
                raise PermissionError("strace is not installed: apt install strace")
            for _ in range(turns):
                system_calls.append(_system_calls(strace, client, pids, gets))
        except PermissionError as error:
            why = str(error)
    return wake_ups, system_calls, why


def _wake_ups(client: subprocess.Popen[str], pids: list[int], gets: int) -> float:
    before = sum(map(_switches, pids))
    _make(client, gets)
    return (sum(map(_switches, pids)) - before) / gets


def _switches(pid: int) -> int:
    """Return how often the threads of a process went to sleep, so far."""
    states = [path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/status")]
    lines = (line for state in states for line in state.splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def _system_calls(strace: str, client: subprocess.Popen[str], pids: list[int], gets: int) -> float:
    """Return the system calls of processes for each get.

    Raises:
        PermissionError: strace may not trace them.
    """
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as summary:
        command = [strace, "-f", "-c", "-o", summary.name, *(part for pid in pids for part in ("-p", str(pid)))]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            waiting, told = set(map(str, pids)), ""
            while waiting and (told := tracer.stderr.readline()):
                if " attached" in told:
                    waiting.discard(told.split("Process ")[1].split()[0])
                elif "attach" in told:
                    tracer.kill()
                    raise PermissionError(told.strip())
            if waiting:
                raise PermissionError("strace ended before it traced")
            _make(client, gets)
            tracer.terminate()
            tracer.stderr.read()
        total = next(line for line in summary if line.split()[-1:] == ["total"])
    return int(total.split()[3]) / gets


def _make(client: subprocess.Popen[str], gets: int) -> None:
    """Have a client make gets, and wait for their end."""
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(f"{gets}\n")
    client.stdin.flush()
    if client.stdout.readline() != "done\n":
        raise ChildProcessError("the client that makes the gets has ended")


@contextmanager
def _client(data: str) -> Iterator[subprocess.Popen[str]]:
    """Run a client that makes as many gets as it is told to, and has made some."""
    command = [sys.executable, "-m", "dagbox.bench.bounds.calls", data]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        try:
            _make(client, 100)
            yield client
        finally:
            client.kill()


def _get_on(data: str) -> None:
    """Make as many gets as each line of standard input says."""
    with dagbox.connect(data, direct=False) as db:
        for line in sys.stdin:
            for _ in range(int(line)):
                db.get("user", "ada")
            print("done", flush=True)


if __name__ == "__main__":
    _get_on(sys.argv[1])
