"""The lock table: a pure machine (`table`) and its data (`model`)."""

from dagbox.locks.model import (
    BEFORE_RESTART,
    DEFAULT_LIMITS,
    EMPTY_STATE,
    ENDED_KEPT,
    Ended,
    HighWater,
    HighWaterMoved,
    KeyInfo,
    Lease,
    LockEvent,
    LockGranted,
    LockLimits,
    LockRefused,
    Renewed,
    TableState,
    Waiting,
    after_machine_restart,
)
from dagbox.locks.table import LockTable

__all__ = [
    "BEFORE_RESTART",
    "DEFAULT_LIMITS",
    "EMPTY_STATE",
    "ENDED_KEPT",
    "Ended",
    "HighWater",
    "HighWaterMoved",
    "KeyInfo",
    "Lease",
    "LockEvent",
    "LockGranted",
    "LockLimits",
    "LockRefused",
    "LockTable",
    "Renewed",
    "TableState",
    "Waiting",
    "after_machine_restart",
]
