"""A signal handler that raises while a thread waits at a gate, at each place where Python lets it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from dagbox.client.background import KeepAlive
from dagbox.embedded import gate as module
from dagbox.embedded.gate import Gate
from tests.interrupts import Interrupt, interruption_after

FILES = {threading.__file__, module.__file__}


def test_a_gate_is_held_after_a_wait_and_free_after_its_block() -> None:
    gate = Gate()

    def wait() -> None:
        with gate.mutex:
            try:
                gate.wait(0.0001)
            finally:
                gate.notify_all()  # refused to a thread that does not hold it

    def is_free() -> bool:
        free = gate.mutex.acquire(blocking=False)
        if free:
            gate.mutex.release()
        return free

    with ThreadPoolExecutor(1) as pool:
        for number in count():
            interrupt = interruption_after(number, FILES, wait)
            assert pool.submit(is_free).result(), f"after call {number}"
            if interrupt is None:
                break
            assert isinstance(interrupt, Interrupt)
    assert number > 10


class Beat:
    """A lease that is never due."""

    finishes = False

    def beat(self) -> float | None:
        """Do nothing."""
        return None


def test_an_interrupted_call_leaves_the_keep_alive_to_its_thread() -> None:
    with ThreadPoolExecutor(1) as pool:
        for number in count():
            kept, other = KeepAlive(), Beat()
            kept.add(other, 200.0)  # starts the thread: `threading` itself does not bear an exception in that

            def add(kept: KeepAlive = kept) -> None:
                kept.add(Beat(), 100.0)

            interrupt = interruption_after(number, {threading.__file__}, add)
            pool.submit(kept.add, other, 100.0).result(timeout=20)
            kept.close()
            if interrupt is None:
                break
    assert number > 2
