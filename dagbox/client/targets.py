"""The node that a program named, as its client's transport takes it."""

from __future__ import annotations

import os

from dagbox.client.operations import span_ms
from dagbox.transport.address import direct_directory, resolve
from dagbox.transport.presence import Presence


def presence_of(target: str | os.PathLike[str] | None, patience: float) -> Presence:
    """Return the address of a node, with its directory if it was named by that.

    Raises:
        CannotConnect: there is no node.
        InvalidArgument: no target, not an address, or not a span of time.
    """
    span_ms("patience", patience)
    return Presence(resolve(target), direct_directory(target), float(patience))
