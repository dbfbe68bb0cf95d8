"""One question to a broker, without a client: for supervisors and probes."""

from __future__ import annotations

import os
import time
from typing import Any

import zmq

from dagbox.errors import CannotConnect, DagBoxError
from dagbox.protocol.frames import Flag
from dagbox.protocol.values import pack, unpack
from dagbox.transport import sockets
from dagbox.transport.core import ClientCore, Completed, Failed


def ask(address: str, service: str, body: Any, timeout_s: float, *, repeatable: bool = True) -> Any:
    """Make one request on a connection of its own.

    Args:
        repeatable: whether it may be asked, and done, again if no answer comes.

    Returns:
        The unpacked answer.

    Raises:
        CannotConnect: no answer in time.
        DagBoxError: what the request failed with.
    """
    core = ClientCore(os.urandom(8))
    with zmq.Context() as context:
        socket = sockets.dealer(context, core.client, address)
        try:
            now = time.monotonic()
            flags = int(Flag.REPEATABLE) if repeatable else 0
            _, message = core.request(service, pack(body), now, timeout_s, flags)
            sockets.send_dealer(socket, message.head, message.tail)
            event = _end_of(core, socket, now + timeout_s)
        finally:
            sockets.leave(socket, core.leave())
    if event is None:
        raise CannotConnect(address, f"no answer from {service} within {timeout_s:g} s")
    if isinstance(event, Failed):
        raise event.error
    return unpack(event.body)


def _end_of(core: ClientCore, socket: zmq.Socket[bytes], end: float) -> Completed | Failed | None:
    """Return the end of the only request; None if it had no answer by the time `end`."""
    while (now := time.monotonic()) < end:
        due = core.next_deadline()
        if socket.poll(max(1, int((min(end, due or end) - now) * 1000))):
            head, tail = sockets.receive_dealer(socket)
            for event in core.receive(head, tail, time.monotonic()):
                if isinstance(event, Completed | Failed):
                    return event
        again, failed = core.tick(time.monotonic())
        for message in again:
            sockets.send_dealer(socket, message.head, message.tail)
        if failed:
            break
    return None


def answers(address: str, timeout_s: float = 0.5) -> bool:
    """Return True if a broker answers there."""
    try:
        ask(address, "services", {}, timeout_s)
    except DagBoxError:
        return False
    return True
