"""Lock operations called directly, as an embedded node does."""

from __future__ import annotations

from typing import Any

from dagbox.errors import DagBoxError
from dagbox.protocol.operations.locks import LockOperation
from dagbox.services.lock.service import LockCall, LockOperations


def execute(operations: LockOperations, operation: LockOperation | DagBoxError, request: bytes, now: float) -> Any:
    """Return the result of one operation; raise the error it failed with."""
    (result,) = operations.execute([LockCall(operation, request)], now)
    if isinstance(result, DagBoxError):
        raise result
    return result
