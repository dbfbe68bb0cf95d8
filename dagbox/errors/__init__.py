"""Everything that can go wrong, as one tree.

    DagBoxError
    ├── InvalidArgument          wrong type, unknown operation, bad key or bucket name
    │   ├── BadKey
    │   ├── BadBucket
    │   ├── UnknownSetting       a key of dagbox.toml that is no setting
    │   ├── BadSetting           a setting with a value that cannot be
    │   ├── BadLine              a line of an import that cannot be read
    │   └── BadClause            a clause of a read that cannot be read, or does not fit the data; a caret
    ├── NotFound                 no such record
    │   └── UnknownBucket        no such bucket
    ├── Conflict                 the record's version is not the one that was asked for
    ├── Locked                   a lock could not be had in time
    ├── LeaseLost                the lease has run out or was taken away
    ├── Fenced                   a write carried a fencing token other than the last one granted
    ├── LimitExceeded            a limit, its value and its maximum
    ├── DeadlineExceeded         no answer in time
    ├── Cancelled                the client took the request back
    ├── Busy                     a queue is full; says when to try again
    ├── Stopping                 the node is shutting down; nothing was lost that was acknowledged
    ├── NoService                nobody serves that name
    ├── WorkerLost               the worker died and the request may not be repeated
    ├── NameTaken                another worker has that name
    ├── ServiceFailed            the handler of a service raised
    ├── TooManyHops              a request was forwarded in a circle
    ├── Reentered                a signal handler or finalizer called what it had interrupted
    ├── Refused                  not allowed for this client
    ├── CannotConnect            no node answers at that address
    ├── MissingExtra             a package that this feature needs is not installed
    ├── ProtocolError            a message that does not parse
    ├── StoreError               the store cannot do it
    │   ├── StoreFull            no room on the disk; the store is read-only until there is
    │   ├── StoreUnavailable     the directory cannot be opened, read or written
    │   ├── StoreCorrupt         what is on disk is not what was written
    │   ├── UnreadableRecord     the data of one record are not a value
    │   └── StoreBroken          the engine must be opened again (the process has to restart)
    ├── InUse                    another process has the role (a node, the lock authority)
    └── LogicError               rules, facts and queries (see `dagbox.datalog`)
        ├── RuleSyntax           text that is not a rule; line, column and a caret
        ├── UnsafeVariable       a variable of a head that the body does not bind
        ├── UnboundVariable      ... of a negation, a comparison or arithmetic
        ├── NotStratified        negation or an aggregate of a predicate through itself
        ├── ArityMismatch        one predicate with two numbers of arguments
        ├── TypeMismatch         an argument that is not what was declared
        ├── UnknownPredicate     a query of what nobody has named
        ├── UnboundParameter     a query without the value of its `$name`
        ├── BadFact              an argument that is no text and no number
        └── EvaluationFailed     arithmetic that has no value

Stopped queries are `QueryLimit` (a LimitExceeded) and `QueryDeadline` (a DeadlineExceeded); both tell how
far the query came.

Each has a stable `code`, a message of one line, and its `fields` as attributes. An error crosses the
wire as `{"code", "message", "fields"}` and is rebuilt as the same class on the other side; a code that
this version does not know becomes a plain `DagBoxError` that keeps the code.
"""

from __future__ import annotations

from dagbox.errors.arguments import BadBucket, BadClause, BadKey, BadLine, BadSetting, InvalidArgument, UnknownSetting
from dagbox.errors.base import DagBoxError, error_from_wire, is_fault, shown_value
from dagbox.errors.extras import MissingExtra, requires_extra
from dagbox.errors.logic import (
    ArityMismatch,
    BadFact,
    EvaluationFailed,
    LogicError,
    NotStratified,
    QueryDeadline,
    QueryLimit,
    RuleSyntax,
    TypeMismatch,
    UnboundParameter,
    UnboundVariable,
    UnknownPredicate,
    UnsafeVariable,
)
from dagbox.errors.requests import (
    Busy,
    Cancelled,
    CannotConnect,
    Conflict,
    DeadlineExceeded,
    Fenced,
    LeaseLost,
    LimitExceeded,
    Locked,
    NameTaken,
    NoService,
    NotFound,
    ProtocolError,
    Reentered,
    Refused,
    ServiceFailed,
    Stopping,
    TooManyHops,
    UnknownBucket,
    WorkerLost,
)
from dagbox.errors.stores import (
    InUse,
    StoreBroken,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UnreadableRecord,
)

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
    "Conflict",
    "DagBoxError",
    "DeadlineExceeded",
    "EvaluationFailed",
    "Fenced",
    "InUse",
    "InvalidArgument",
    "LeaseLost",
    "LimitExceeded",
    "Locked",
    "LogicError",
    "MissingExtra",
    "NameTaken",
    "NoService",
    "NotFound",
    "NotStratified",
    "ProtocolError",
    "QueryDeadline",
    "QueryLimit",
    "Reentered",
    "Refused",
    "RuleSyntax",
    "ServiceFailed",
    "Stopping",
    "StoreBroken",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "TooManyHops",
    "TypeMismatch",
    "UnboundParameter",
    "UnboundVariable",
    "UnknownBucket",
    "UnknownPredicate",
    "UnknownSetting",
    "UnreadableRecord",
    "UnsafeVariable",
    "WorkerLost",
    "error_from_wire",
    "is_fault",
    "requires_extra",
    "shown_value",
]
