"""DagBox: a small database of independent components that talk by messages.

    import dagbox
    with dagbox.open("data") as db:
        ref = db.put("user", {"name": "Ada"})
        print(db.get(ref))

The names are loaded when they are first used, so that importing the package is cheap.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""True for type checkers, which know it by its name; the module `typing` need not be loaded for it."""

if TYPE_CHECKING:
    from dagbox import aio, errors
    from dagbox.client import (
        ClientStatus,
        Database,
        Event,
        EventLog,
        Fact,
        Fields,
        Future,
        Lease,
        LockInfo,
        LockWaiter,
        Proof,
        Reason,
        Rows,
        Rule,
        RunningQuery,
        ServiceStatus,
        Status,
        Trace,
        TraceLog,
        TraceNote,
        TraceStep,
        WorkerStatus,
        connect,
        open,
    )
    from dagbox.errors import (
        ArityMismatch,
        BadBucket,
        BadClause,
        BadFact,
        BadKey,
        BadLine,
        BadSetting,
        Busy,
        Cancelled,
        CannotConnect,
        Conflict,
        DagBoxError,
        DeadlineExceeded,
        EvaluationFailed,
        Fenced,
        InUse,
        InvalidArgument,
        LeaseLost,
        LimitExceeded,
        Locked,
        LogicError,
        MissingExtra,
        NameTaken,
        NoService,
        NotFound,
        NotStratified,
        ProtocolError,
        QueryDeadline,
        QueryLimit,
        Reentered,
        Refused,
        RuleSyntax,
        ServiceFailed,
        Stopping,
        StoreBroken,
        StoreCorrupt,
        StoreError,
        StoreFull,
        StoreUnavailable,
        TooManyHops,
        TypeMismatch,
        UnboundParameter,
        UnboundVariable,
        UnknownBucket,
        UnknownPredicate,
        UnknownSetting,
        UnreadableRecord,
        UnsafeVariable,
        WorkerLost,
    )
    from dagbox.protocol.clauses.builder import F
    from dagbox.protocol.clauses.terms import Param
    from dagbox.protocol.values import Durability, Node, Record, Ref
    from dagbox.runtime.serve import serve, service
    from dagbox.services.function import ServiceRequest

__version__ = "0.1.0"

__all__ = [
    "ArityMismatch",
    "BadBucket",
    "BadClause",
    "BadFact",
    "BadKey",
    "BadLine",
    "BadSetting",
    "Busy",
    "Cancelled",
    "CannotConnect",
    "ClientStatus",
    "Conflict",
    "DagBoxError",
    "Database",
    "DeadlineExceeded",
    "Durability",
    "EvaluationFailed",
    "Event",
    "EventLog",
    "F",
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
    "LockWaiter",
    "Locked",
    "LogicError",
    "MissingExtra",
    "NameTaken",
    "NoService",
    "Node",
    "NotFound",
    "NotStratified",
    "Param",
    "Proof",
    "ProtocolError",
    "QueryDeadline",
    "QueryLimit",
    "Reason",
    "Record",
    "Reentered",
    "Ref",
    "Refused",
    "Rows",
    "Rule",
    "RuleSyntax",
    "RunningQuery",
    "ServiceFailed",
    "ServiceRequest",
    "ServiceStatus",
    "Status",
    "Stopping",
    "StoreBroken",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "TooManyHops",
    "Trace",
    "TraceLog",
    "TraceNote",
    "TraceStep",
    "TypeMismatch",
    "UnboundParameter",
    "UnboundVariable",
    "UnknownBucket",
    "UnknownPredicate",
    "UnknownSetting",
    "UnreadableRecord",
    "UnsafeVariable",
    "WorkerLost",
    "WorkerStatus",
    "aio",
    "connect",
    "errors",
    "open",
    "serve",
    "service",
]

_HOMES = {
    **dict.fromkeys(("aio", "errors"), ""),
    **dict.fromkeys(("Durability", "Node", "Record", "Ref"), "dagbox.protocol.values"),
    "F": "dagbox.protocol.clauses.builder",
    "Param": "dagbox.protocol.clauses.terms",
    **dict.fromkeys(("serve", "service"), "dagbox.runtime.serve"),
    "ServiceRequest": "dagbox.services.function",
}
"""The module of each name that is neither an error nor of the client; empty: it is a module."""

if not TYPE_CHECKING:  # a type checker knows the names from the imports above, and no other

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used."""
        from importlib import import_module

        if name not in __all__:
            raise AttributeError(f"module 'dagbox' has no attribute {name!r}", name=name, obj=import_module("dagbox"))
        home = _HOMES.get(name)
        if home == "":
            return import_module(f"dagbox.{name}")
        if home is None:
            errors = import_module("dagbox.errors")
            home = "dagbox.errors" if hasattr(errors, name) else "dagbox.client"
        value = globals()[name] = getattr(import_module(home), name)
        return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__", "__version__"])
