"""Calls that are made in one turn of the event loop, gathered into one request for each service.

Rules:

1. What was asked in one turn leaves at the end of that turn, in the order in which it was asked.
2. Calls share a request only if service, time-out, flags and the request that they serve are the same.
3. Each caller gets its own result or error. A caller who is cancelled leaves the others alone; the request
   itself is cancelled when all its callers are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from dagbox.errors import DagBoxError, ProtocolError
from dagbox.protocol.serving import served
from dagbox.transport.base import Call

MAX_GATHERED = 1_000
"""Number of operations that share one request; more make another."""

_Key = tuple[str, float, bool, bool, bool, bytes]


class _Group:
    __slots__ = ("calls", "context", "waiting")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.context = copy_context()
        """That of its first caller: it has the request that all of them serve."""
        self.waiting: list[asyncio.Future[Any]] = []


class Gather:
    """Gathers calls of single operations.

    Args:
        send: makes one request, whose body is one operation or a list of them, and returns its answer.
    """

    def __init__(self, send: Callable[[Call], Awaitable[Any]]) -> None:
        self._send = send
        self._groups: dict[_Key, _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, call: Call) -> Any:
        """Make a call of one operation; raises what it failed with."""
        loop = asyncio.get_running_loop()
        if not self._groups:
            loop.call_soon(self._flush)
        key = (call.service, call.timeout_s, call.repeatable, call.urgent, call.untraced, served())
        group = self._groups.get(key)
        if group is None or len(group.calls) >= MAX_GATHERED:
            if group is not None:
                self._start(group)
            group = self._groups[key] = _Group()
        future: asyncio.Future[Any] = loop.create_future()
        group.calls.append(call)
        group.waiting.append(future)
        return await future

    def _flush(self) -> None:
        groups, self._groups = self._groups, {}
        for group in groups.values():
            self._start(group)

    def _start(self, group: _Group) -> None:
        task = asyncio.get_running_loop().create_task(self._run(group), context=group.context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        left = len(group.waiting)

        def ended(future: asyncio.Future[Any]) -> None:
            nonlocal left
            left -= 1
            if not left:
                task.cancel()

        for future in group.waiting:
            future.add_done_callback(ended)

    async def _run(self, group: _Group) -> None:
        first = group.calls[0]
        alone = len(group.calls) == 1
        try:
            body = first.body if alone else [call.body for call in group.calls]
            answer = await self._send(first._replace(body=body))
        except DagBoxError as error:
            answer = error
        if not isinstance(answer, DagBoxError) and not alone:
            if isinstance(answer, list) and len(answer) == len(group.waiting):
                _settle(group.waiting, answer)
                return
            answer = ProtocolError(f"{first.service} answered {len(group.waiting)} operations with something else")
        _settle(group.waiting, [answer] * len(group.waiting))


def _settle(waiting: list[asyncio.Future[Any]], answers: list[Any]) -> None:
    for future, answer in zip(waiting, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, DagBoxError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
