"""The lock table: a pure machine (`table.py`), and what it tells and keeps (`model.py`)."""

from dagbox.locks.model import (
    BEFORE_RESTART,
    DEFAULT_LIMITS,
    EMPTY_STATE,
    ENDED_KEPT,
    Ended,
    Event,
    Granted,
    KeyInfo,
    Lease,
    Limits,
    Marked,
    Marks,
    Refused,
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
    "Event",
    "Granted",
    "KeyInfo",
    "Lease",
    "Limits",
    "LockTable",
    "Marked",
    "Marks",
    "Refused",
    "Renewed",
    "TableState",
    "Waiting",
    "after_machine_restart",
]
