"""Wake-ups and system calls of a read through the broker: counts, which the time that things take does not change."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import dagbox
from dagbox.bench.bounds.calls import counts
from dagbox.bench.bounds.table import SYSTEM_CALLS, WAKE_UPS
from tests.runtime.nodes import running, until
from tests.safety.tracing import can_trace

PROCESS = "dagbox.runtime.process"
BROKER = (
    f"import math, dagbox.runtime.local_reads as reads, {PROCESS} as process; reads.SLOW_S = math.inf; process.main()"
)
"""A broker to which no read is slow: after one, the readers make the reads for a second, on a busy machine for long."""


def test_a_read_through_the_broker_wakes_few_threads_and_makes_few_system_calls(tmp_path: Path) -> None:
    address, data = f"ipc://{tmp_path}/broker.sock", str(tmp_path / "data")
    with ExitStack() as stack:
        stack.enter_context(running("broker", "--listen", address, "--data", data, code=BROKER))
        for service in ("writer", "reader"):
            worker = (PROCESS, "worker", service, "--data", data, "--connect", address, "--name", service)
            stack.enter_context(running(*worker))

        def workers() -> bool:
            with dagbox.connect(address) as db:
                return len(db.workers()) == 2

        until(workers)
        wake_ups, system_calls, why = counts(data, 200, 5)
    assert min(wake_ups) <= WAKE_UPS.limit
    assert min(system_calls) <= SYSTEM_CALLS.limit if can_trace() else why
