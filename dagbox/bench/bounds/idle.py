"""A node that nobody asks anything: its time of the processor, and its memory.

idle       `dagbox up` with the usual number of workers, some seconds after its start; all its processes together, their
           memory as proportional set size
"""

from __future__ import annotations

import time

import psutil

import dagbox
from dagbox.bench.bounds import table
from dagbox.bench.load.target import temporary_node
from dagbox.bench.report import FULL, Effort, Figure, median_of_turns

SETTLE_S = 3.0
SPAN_S = 10.0
TURNS = 3


def idle_node(effort: Effort = FULL) -> list[Figure]:
    """Measure a node that is idle."""
    span_s = effort.seconds(SPAN_S)
    with temporary_node("full"):
        pass  # its code is compiled now
    with temporary_node("full") as data:
        with dagbox.connect(data) as db:
            status = db.status()
        time.sleep(effort.seconds(SETTLE_S))
        supervisor = psutil.Process(status.broker.pid).parent()
        if supervisor is None:
            return [bound.not_measured("the node has ended") for bound in (table.IDLE_CPU, table.IDLE_MEMORY)]
        node = [supervisor, *supervisor.children(recursive=True)]
        share = median_of_turns(effort.count(TURNS), lambda: _share_of_a_core(node, span_s))[0]
        memory = sum(each.memory_full_info().pss for each in node)
    return [
        table.IDLE_CPU.figure(share * 100),
        table.IDLE_MEMORY.figure(memory / 2**20),
        Figure("processes of the idle node", len(node), ""),
    ]


def _share_of_a_core(node: list[psutil.Process], span_s: float) -> float:
    before, began = _cpu_s(node), time.monotonic()
    time.sleep(span_s)
    return (_cpu_s(node) - before) / (time.monotonic() - began)


def _cpu_s(node: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in node)
