"""The request that the code which runs now serves: requests made meanwhile name it as their parent.

A context variable: threads of a pool have one each, tasks and `asyncio.run` inherit it, a thread that a handler
starts by itself does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_served: ContextVar[bytes] = ContextVar("dagbox_served", default=b"")

served = _served.get
"""The key of the request that is served; empty if none is."""


@contextmanager
def serving(key: bytes) -> Iterator[None]:
    """Have requests made in the block name this one as their parent."""
    token = _served.set(key)
    try:
        yield
    finally:
        _served.reset(token)
