"""The time that programs take to start: whole processes, from their start to their end.

start      `dagbox --help`; `dagbox get` of one record of a node that runs; a program that imports dagbox and opens a
           directory. Beside them Python alone, which is part of each. Each has run before: its code is compiled
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import dagbox
from dagbox.bench.bounds import table
from dagbox.bench.core import RECORD, node_processes
from dagbox.bench.report import FULL, Effort, Figure, median_of_turns

TURNS = 15
_OPEN = "import sys, dagbox; dagbox.open(sys.argv[1]).close()"


def start_time(effort: Effort = FULL) -> list[Figure]:
    """Measure whole processes."""
    with node_processes(data_socket=True) as (data, _):
        with dagbox.connect(data) as db:
            db.put("user", RECORD, key="ada")
        other = str(Path(data).with_name("other"))
        dagbox.open(other).close()
        programs = [
            ("-c", "pass"),
            ("-m", "dagbox", "--help"),
            ("-m", "dagbox", "get", "user/ada", "--at", data),
            ("-c", _OPEN, other),
        ]
        for program in programs:
            _process_ms(program)
        alone, helped, got, opened = median_of_turns(
            effort.count(TURNS), *[lambda program=program: _process_ms(program) for program in programs]
        )
    return [
        Figure("Python alone, a process", alone, "ms"),
        table.HELP.figure(helped),
        table.FIRST_GET.figure(got),
        table.IMPORT_AND_OPEN.figure(opened),
    ]


def _process_ms(program: tuple[str, ...]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *program], stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1e3
