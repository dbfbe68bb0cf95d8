"""Wake-ups, system calls and messages of reads through the broker: counts, which no noise of the machine reaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

import dagbox
from dagbox.bench.bounds.calls import counts
from dagbox.bench.bounds.table import SYSTEM_CALLS, WAKE_UPS
from dagbox.protocol import frames
from dagbox.protocol.frames import Kind
from dagbox.protocol.values import pack
from tests.runtime.nodes import running, until
from tests.safety.tracing import can_trace

PROCESS = "dagbox.runtime.process"
BROKER = (
    f"import math, dagbox.runtime.local_reads as reads, {PROCESS} as process; reads.SLOW_S = math.inf; process.main()"
)
"""A broker to which no read is slow: after one, the readers make the reads for a second, on a busy machine for long."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[str]:
    """The directory of a node of processes."""
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
        yield data


def test_a_read_through_the_broker_wakes_few_threads_and_makes_few_system_calls(node: str) -> None:
    wake_ups, system_calls, why = counts(node, 200, 5)
    assert min(wake_ups) <= WAKE_UPS.limit
    assert min(system_calls) <= SYSTEM_CALLS.limit if can_trace() else why


def test_reads_of_a_pipeline_are_one_message(node: str) -> None:
    with dagbox.connect(node, direct=False) as db:
        db.put("user", 1, key="ada")
        accepted = [db.status().broker.accepted for _ in range(2)]
        db.get("user", "ada")
        accepted.append(db.status().broker.accepted)
        with db.pipeline() as pipe:
            futures = [pipe.get("user", "ada") for _ in range(256)]
        assert {future.result() for future in futures} == {1}
        accepted.append(db.status().broker.accepted)
    questions = accepted[1] - accepted[0]
    assert [after - before - questions for before, after in pairwise(accepted[1:])] == [1, 1]


@pytest.mark.parametrize("kind", [Kind.REQUEST, Kind.REPLY, Kind.ERROR])
def test_a_message_is_one_frame_unless_its_body_is_large(kind: Kind) -> None:
    for size in (0, 200, frames.TAIL_BYTES - 10):
        assert frames.build(kind, b"client-1", bytes(8), b"reader", pack(bytes(size))).tail is None
