"""DagBox: a small database of independent components that talk by messages.

    import dagbox
    with dagbox.open("data") as db:
        ref = db.put("user", {"name": "Ada"})
        print(db.get(ref))

The names are loaded when they are first used, so that importing the package is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagbox import aio, errors
    from dagbox.client import Database, Fact, Fields, Future, Lease, LockInfo, Rule, Status, connect, open
    from dagbox.errors import (
        BadBucket,
        BadKey,
        Busy,
        Cancelled,
        CannotConnect,
        Conflict,
        DagBoxError,
        DeadlineExceeded,
        Fenced,
        InUse,
        InvalidArgument,
        LeaseLost,
        LimitExceeded,
        Locked,
        LogicError,
        NoService,
        NotFound,
        ProtocolError,
        Refused,
        ServiceFailed,
        StoreBroken,
        StoreCorrupt,
        StoreError,
        StoreFull,
        StoreUnavailable,
        TooManyHops,
        UnknownBucket,
        WorkerLost,
    )
    from dagbox.protocol.values import Node, Record, Ref
    from dagbox.runtime.serve import serve, service

__version__ = "0.1.0"

_ERRORS = (
    "BadBucket BadKey Busy Cancelled CannotConnect Conflict DagBoxError DeadlineExceeded Fenced InUse InvalidArgument "
    "LeaseLost LimitExceeded Locked LogicError NoService NotFound ProtocolError Refused ServiceFailed StoreBroken "
    "StoreCorrupt StoreError StoreFull StoreUnavailable TooManyHops UnknownBucket WorkerLost"
)
_HOMES = {
    **dict.fromkeys(_ERRORS.split(), "dagbox.errors"),
    **dict.fromkeys(("Node", "Record", "Ref"), "dagbox.protocol.values"),
    **dict.fromkeys(
        ("Database", "Fact", "Fields", "Future", "Lease", "LockInfo", "Rule", "Status", "connect", "open"),
        "dagbox.client",
    ),
    **dict.fromkeys(("serve", "service"), "dagbox.runtime.serve"),
}
_MODULES = ("aio", "errors")

__all__ = [
    "BadBucket",
    "BadKey",
    "Busy",
    "Cancelled",
    "CannotConnect",
    "Conflict",
    "DagBoxError",
    "Database",
    "DeadlineExceeded",
    "Fact",
    "Fenced",
    "Fields",
    "Future",
    "InUse",
    "InvalidArgument",
    "Lease",
    "LeaseLost",
    "LimitExceeded",
    "LockInfo",
    "Locked",
    "LogicError",
    "NoService",
    "Node",
    "NotFound",
    "ProtocolError",
    "Record",
    "Ref",
    "Refused",
    "Rule",
    "ServiceFailed",
    "Status",
    "StoreBroken",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "TooManyHops",
    "UnknownBucket",
    "WorkerLost",
    "aio",
    "connect",
    "errors",
    "open",
    "serve",
    "service",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"dagbox.{name}")
    # Every error is a public name, also those that a version of a store or a service added.
    value = getattr(import_module(_HOMES.get(name, "dagbox.errors")), name, None)
    if value is None or (name not in _HOMES and not hasattr(value, "to_wire")):
        raise AttributeError(f"module 'dagbox' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
