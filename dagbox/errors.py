"""Everything that can go wrong, as one tree.

    DagBoxError
    ├── InvalidArgument          wrong type, unknown operation, bad key or bucket name
    │   ├── BadKey
    │   ├── BadBucket
    │   ├── UnknownSetting       a key of dagbox.toml that is no setting
    │   ├── BadSetting           a setting with a value that cannot be
    │   └── BadLine              a line of an import that cannot be read
    ├── NotFound                 no such record
    │   └── UnknownBucket        no such bucket
    ├── Conflict                 the record's version is not the one that was asked for
    ├── Locked                   a lock could not be had in time
    ├── LeaseLost                the lease has run out or was taken away
    ├── Fenced                   a write carried an older fencing token than one already seen
    ├── LimitExceeded            a limit, its value and its maximum
    ├── DeadlineExceeded         no answer in time
    ├── Cancelled                the client took the request back
    ├── Busy                     a queue is full; says when to try again
    ├── Stopping                 the node is shutting down; nothing was lost that was acknowledged
    ├── NoService                nobody serves that name
    ├── WorkerLost               the worker died and the request may not be repeated
    ├── ServiceFailed            the handler of a service raised
    ├── TooManyHops              a request was forwarded in a circle
    ├── Refused                  not allowed for this client
    ├── CannotConnect            no node answers at that address
    ├── ProtocolError            a message that does not parse
    ├── StoreError               the store cannot do it
    │   ├── StoreFull            no room on the disk; the store is read-only until there is
    │   ├── StoreUnavailable     the directory cannot be opened, read or written
    │   ├── StoreCorrupt         what is on disk is not what was written
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

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

_BY_CODE: dict[str, type[DagBoxError]] = {}
_TAKEN = frozenset({"self", "message"})
"""No names for fields: the parameters of the constructor."""


class DagBoxError(Exception):
    """The root of all errors of DagBox.

    Args:
        message: one line that names what was wrong and what to do.
        fields: what was wrong as values that MessagePack can carry; each is an attribute too.
    """

    code: str = "error"
    _own_code: ClassVar[str] = "error"

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields
        for name, value in fields.items():
            if name not in ("message", "fields") and not hasattr(DagBoxError, name):
                setattr(self, name, value)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" in cls.__dict__:
            _BY_CODE[cls.code] = cls

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Callable[..., DagBoxError], tuple[dict[str, Any]]]:
        return error_from_wire, (self.to_wire(),)

    def to_wire(self) -> dict[str, Any]:
        """The error as a map of plain values: `{"code", "message", "fields"}`."""
        return {"code": self.code, "message": self.message, "fields": self.fields}


def error_from_wire(value: object) -> DagBoxError:
    """Rebuild an error from its map; never raises, whatever the map holds."""
    if not isinstance(value, Mapping):
        return DagBoxError("an error that does not parse came back")
    code, message, fields = value.get("code"), value.get("message"), value.get("fields")
    known = _BY_CODE.get(code, DagBoxError) if isinstance(code, str) else DagBoxError
    error = known.__new__(known)
    clean = (
        {k: v for k, v in fields.items() if isinstance(k, str) and k.isidentifier() and k[0] != "_" and k not in _TAKEN}
        if isinstance(fields, Mapping)
        else {}
    )
    DagBoxError.__init__(error, str(message), **clean)
    if known is DagBoxError and isinstance(code, str):
        error.code = code
    return error


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s" if count else ""


def shown_value(value: object, length: int = 60) -> str:
    """A value as messages show it: never longer than `length`, never a nested one's inside (it may have no end)."""
    if isinstance(value, str | bytes):
        shown = repr(value[: length + 1])
    elif isinstance(value, Mapping):
        shown = f"{{{_counted(len(value), 'field')}}}"
    elif isinstance(value, list | tuple):
        shown = f"[{_counted(len(value), 'item')}]"
    elif isinstance(value, int) and value.bit_length() > 64:
        shown = f"<a number of {value.bit_length()} bits>"
    else:
        shown = repr(value)
    return shown if len(shown) <= length else shown[: length - 3] + "..."


class InvalidArgument(DagBoxError):
    """An argument or operation that is not of the form the contract gives."""

    code = "invalid_argument"


class BadKey(InvalidArgument):
    """A key that is empty, too long or not text. Fields: key, reason."""

    code = "bad_key"
    key: str
    reason: str

    def __init__(self, key: object, reason: str) -> None:
        shown = shown_value(key)
        super().__init__(f"bad key {shown}: {reason}", key=shown, reason=reason)


class BadBucket(InvalidArgument):
    """A bucket name that is empty, too long, not text, or reserved. Fields: bucket, reason."""

    code = "bad_bucket"
    bucket: str
    reason: str

    def __init__(self, bucket: object, reason: str) -> None:
        shown = shown_value(bucket)
        super().__init__(f"bad bucket name {shown}: {reason}", bucket=shown, reason=reason)


class UnknownSetting(InvalidArgument):
    """A key of dagbox.toml that is no setting. Fields: setting, source (the file), near, known (names)."""

    code = "unknown_setting"
    setting: str
    source: str
    near: list[str]
    known: list[str]

    def __init__(self, setting: str, source: str, near: list[str], known: list[str]) -> None:
        hint = f"did you mean {' or '.join(near)}?" if near else f"the settings are {', '.join(known)}"
        super().__init__(
            f"no setting {setting!r} ({source}): {hint}", setting=setting, source=source, near=near, known=known
        )


class BadSetting(InvalidArgument):
    """A setting whose value cannot be. Fields: setting, value, reason, source (file or variable)."""

    code = "bad_setting"
    setting: str
    value: str
    reason: str
    source: str

    def __init__(self, setting: str, value: object, reason: str, source: str) -> None:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        super().__init__(
            f"{setting} is {shown} ({source}): {reason}", setting=setting, value=shown, reason=reason, source=source
        )


class BadLine(InvalidArgument):
    """A line of an import that cannot be read. Fields: line (from 1), reason."""

    code = "bad_line"
    line: int
    reason: str

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}", line=line, reason=reason)


class NotFound(DagBoxError):
    """There is no such record. Fields: bucket, key."""

    code = "not_found"
    bucket: str
    key: str

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"no record {bucket}/{key}", bucket=bucket, key=key)


class UnknownBucket(NotFound):
    """There is no such bucket. Fields: bucket, known (some of the names there are)."""

    code = "unknown_bucket"
    known: list[str]

    def __init__(self, bucket: str, known: list[str]) -> None:
        names = ", ".join(known) if known else "none yet"
        DagBoxError.__init__(self, f"no bucket {bucket!r}: the buckets are {names}", bucket=bucket, known=known)


class Conflict(DagBoxError):
    """The record is not at the version that was asked for.

    Fields: bucket, key, expected (0: must not exist), current (0: does not exist).
    """

    code = "conflict"
    bucket: str
    key: str
    expected: int
    current: int

    def __init__(self, bucket: str, key: str, expected: int, current: int) -> None:
        wanted = f"at version {expected}" if expected else "absent"
        actual = f"at version {current}" if current else "absent"
        super().__init__(
            f"{bucket}/{key} should be {wanted} but is {actual}: read it again and retry",
            bucket=bucket,
            key=key,
            expected=expected,
            current=current,
        )


class Locked(DagBoxError):
    """A lock was not granted within the wait. Fields: key, owner, left_ms (of the holder's lease)."""

    code = "locked"
    key: str
    owner: str
    left_ms: int

    def __init__(self, key: str, owner: str, left_ms: int) -> None:
        super().__init__(
            f"{key} is locked by {owner} for {left_ms / 1000:.1f} s more: wait longer or try later",
            key=key,
            owner=owner,
            left_ms=left_ms,
        )


class LeaseLost(DagBoxError):
    """The lease is not held any more.

    Fields: key (one of its keys; empty if it is not remembered), token, reason (empty, or why it is over).
    """

    code = "lease_lost"
    key: str
    token: int
    reason: str

    def __init__(self, key: str, token: int, reason: str = "") -> None:
        lease = f"the lease {token} on {key}" if key else f"the lease {token}"
        why = f" ({reason})" if reason else ""
        super().__init__(f"{lease} is not held any more{why}: lock it again", key=key, token=token, reason=reason)


class Fenced(DagBoxError):
    """A write carried a fencing token lower than one already seen. Fields: key, token, highest."""

    code = "fenced"
    key: str
    token: int
    highest: int

    def __init__(self, key: str, token: int, highest: int) -> None:
        super().__init__(
            f"fencing token {token} for {key} is older than {highest}, already seen: another holder wrote since",
            key=key,
            token=token,
            highest=highest,
        )


class LimitExceeded(DagBoxError):
    """A limit was passed. Fields: limit (its name), value, maximum."""

    code = "limit_exceeded"
    limit: str
    value: int
    maximum: int

    def __init__(self, limit: str, value: int, maximum: int) -> None:
        super().__init__(
            f"{limit} is {value}, the most allowed is {maximum}", limit=limit, value=value, maximum=maximum
        )


class DeadlineExceeded(DagBoxError):
    """No answer before the deadline. Fields: service, timeout_ms."""

    code = "deadline"
    service: str
    timeout_ms: int

    def __init__(self, service: str, timeout_ms: int) -> None:
        super().__init__(
            f"no answer from {service} within {timeout_ms / 1000:g} s", service=service, timeout_ms=timeout_ms
        )


class Cancelled(DagBoxError):
    """The client cancelled the request. Fields: service."""

    code = "cancelled"
    service: str

    def __init__(self, service: str) -> None:
        super().__init__(f"the request to {service} was cancelled", service=service)


class Busy(DagBoxError):
    """A queue is full. Fields: service, retry_after_ms."""

    code = "busy"
    service: str
    retry_after_ms: int

    def __init__(self, service: str, retry_after_ms: int) -> None:
        super().__init__(
            f"{service} is busy: try again in {retry_after_ms} ms", service=service, retry_after_ms=retry_after_ms
        )


class Stopping(DagBoxError):
    """The node is shutting down; the request may or may not have been done. Fields: service."""

    code = "stopping"
    service: str

    def __init__(self, service: str) -> None:
        super().__init__(f"the node is shutting down: ask {service} again when it is back", service=service)


class NoService(DagBoxError):
    """Nobody serves that name. Fields: service, known (the names there are)."""

    code = "no_service"
    service: str
    known: list[str]

    def __init__(self, service: str, known: list[str]) -> None:
        names = ", ".join(known) if known else "none"
        super().__init__(f"no service {service!r}: the services are {names}", service=service, known=known)


class WorkerLost(DagBoxError):
    """The worker died with the request, which may not be repeated (again). Fields: service, attempts."""

    code = "worker_lost"
    service: str
    attempts: int

    def __init__(self, service: str, attempts: int) -> None:
        super().__init__(
            f"the {service} worker died with the request (attempt {attempts}): it may or may not have been done",
            service=service,
            attempts=attempts,
        )


class ServiceFailed(DagBoxError):
    """The handler of a service raised. Fields: service, kind (the exception's class), detail."""

    code = "service_failed"
    service: str
    kind: str
    detail: str

    def __init__(self, service: str, kind: str, detail: str) -> None:
        super().__init__(f"{service} failed: {kind}: {detail}", service=service, kind=kind, detail=detail)


class TooManyHops(DagBoxError):
    """A request was forwarded too often. Fields: service, hops."""

    code = "too_many_hops"
    service: str
    hops: int

    def __init__(self, service: str, hops: int) -> None:
        super().__init__(
            f"the request was forwarded {hops} times, last to {service}: services forward in a circle",
            service=service,
            hops=hops,
        )


class Refused(DagBoxError):
    """The client may not do that. Fields: reason."""

    code = "refused"
    reason: str

    def __init__(self, reason: str) -> None:
        super().__init__(f"refused: {reason}", reason=reason)


class CannotConnect(DagBoxError):
    """No node answers there. Fields: address, reason."""

    code = "cannot_connect"
    address: str
    reason: str

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot connect to {address}: {reason}", address=address, reason=reason)


class ProtocolError(DagBoxError):
    """A message that does not parse. Fields: reason."""

    code = "protocol"
    reason: str

    def __init__(self, reason: str) -> None:
        super().__init__(f"not a DagBox message: {reason}", reason=reason)


class StoreError(DagBoxError):
    """The store cannot do what was asked. Fields depend on the cause."""

    code = "store"


class StoreFull(StoreError):
    """No room on the disk. Fields: path, reason."""

    code = "store_full"
    path: str
    reason: str

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"no room to write to {path} ({reason}): reads go on, writes work again when there is room",
            path=path,
            reason=reason,
        )


class StoreUnavailable(StoreError):
    """The directory cannot be opened, read or written. Fields: path, reason."""

    code = "store_unavailable"
    path: str
    reason: str

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"cannot open the store in {path}: {reason}", path=path, reason=reason)


class StoreCorrupt(StoreError):
    """What is on disk is not what was written. Fields: path, reason."""

    code = "store_corrupt"
    path: str
    reason: str

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the store in {path} is damaged: {reason}", path=path, reason=reason)


class StoreBroken(StoreError):
    """A failed commit left the engine unusable; the process has to open it again. Fields: path, reason."""

    code = "store_broken"
    path: str
    reason: str

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the store in {path} must be opened again: {reason}", path=path, reason=reason)


class InUse(DagBoxError):
    """Another process has that role. Fields: what, path, pid."""

    code = "in_use"
    what: str
    path: str
    pid: int

    def __init__(self, what: str, path: str, pid: int) -> None:
        super().__init__(f"{path} already has {what} (process {pid})", what=what, path=path, pid=pid)


class LogicError(DagBoxError):
    """Something is wrong with a rule, a fact or a query."""

    code = "logic"


class RuleSyntax(LogicError):
    """Text or data that is not of the language.

    Fields: reason, line, column (from 1; 0: given as data), snippet (the line, and a caret below it).
    """

    code = "rule_syntax"
    reason: str
    line: int
    column: int
    snippet: str

    def __init__(self, reason: str, line: int = 0, column: int = 0, snippet: str = "") -> None:
        place = f"line {line}, column {column}: " if line else ""
        super().__init__(f"{place}{reason}", reason=reason, line=line, column=column, snippet=snippet)


class _RuleError(LogicError):
    """What the errors about one rule share. Fields: rule (its text), line, column (0: given as data)."""

    rule: str
    line: int
    column: int

    def __init__(self, message: str, rule: str, at: tuple[int, int], **fields: Any) -> None:
        line, column = at
        place = f"line {line}, column {column}: " if line else ""
        super().__init__(f"{place}{message}, in {rule}", rule=rule, line=line, column=column, **fields)


class UnsafeVariable(_RuleError):
    """The head has a variable that the body does not bind. Fields: variable, rule, line, column."""

    code = "unsafe_variable"
    variable: str

    def __init__(self, variable: str, rule: str, at: tuple[int, int]) -> None:
        super().__init__(
            f"{variable} stands in the head, but no positive condition of the body gives it a value",
            rule,
            at,
            variable=variable,
        )


class UnboundVariable(_RuleError):
    """A variable has no value where one is needed. Fields: variable, where, rule, line, column."""

    code = "unbound_variable"
    variable: str
    where: str

    def __init__(self, variable: str, where: str, rule: str, at: tuple[int, int]) -> None:
        super().__init__(
            f"{variable} stands in {where}, but no positive condition of the body gives it a value",
            rule,
            at,
            variable=variable,
            where=where,
        )


class NotStratified(_RuleError):
    """A predicate needs its own negation or aggregate. Fields: cycle (names), through, rule, line, column."""

    code = "not_stratified"
    cycle: list[str]
    through: str

    def __init__(self, cycle: list[str], through: str, rule: str, at: tuple[int, int]) -> None:
        super().__init__(
            f"{cycle[0]} depends on itself through {through} ({' -> '.join(cycle)})",
            rule,
            at,
            cycle=cycle,
            through=through,
        )


class ArityMismatch(_RuleError):
    """One predicate with two numbers of arguments.

    Fields: predicate, arity, expected, other (where that is), rule, line, column.
    """

    code = "arity_mismatch"
    predicate: str
    arity: int
    expected: int
    other: str

    def __init__(self, predicate: str, arity: int, expected: int, other: str, rule: str, at: tuple[int, int]) -> None:
        super().__init__(
            f"{predicate} has {arity} argument{'' if arity == 1 else 's'} here, but {expected} in {other}",
            rule,
            at,
            predicate=predicate,
            arity=arity,
            expected=expected,
            other=other,
        )


class TypeMismatch(_RuleError):
    """An argument is not what was declared.

    Fields: what (the term), predicate, argument (from 1), type, other, rule, line, column.
    """

    code = "type_mismatch"
    what: str
    predicate: str
    argument: int
    type: str
    other: str

    def __init__(
        self, what: str, predicate: str, argument: int, declared: str, other: str, rule: str, at: tuple[int, int]
    ) -> None:
        super().__init__(
            f"argument {argument} of {predicate} is {declared}, but {what} is {other}",
            rule,
            at,
            what=what,
            predicate=predicate,
            argument=argument,
            type=declared,
            other=other,
        )


class UnknownPredicate(LogicError):
    """No fact, rule or declaration has that name. Fields: predicate, near (similar names)."""

    code = "unknown_predicate"
    predicate: str
    near: list[str]

    def __init__(self, predicate: str, near: list[str]) -> None:
        hint = f": did you mean {', '.join(near)}?" if near else ": no fact, rule or declaration has that name"
        super().__init__(f"unknown predicate {predicate}{hint}", predicate=predicate, near=near)


class UnboundParameter(LogicError):
    """The query has a parameter that no value was given for, or was given one that it has not. Fields: parameter."""

    code = "unbound_parameter"
    parameter: str

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"${parameter}: {reason}", parameter=parameter)


class BadFact(LogicError):
    """A fact that cannot be: its predicate is no name, or an argument no text and no number. Fields: value, reason."""

    code = "bad_fact"
    value: str
    reason: str

    def __init__(self, value: object, reason: str) -> None:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        super().__init__(f"bad fact: {shown}: {reason}", value=shown, reason=reason)


class EvaluationFailed(LogicError):
    """Arithmetic or an aggregate has no value. Fields: reason, rule."""

    code = "evaluation_failed"
    reason: str
    rule: str

    def __init__(self, reason: str, rule: str) -> None:
        super().__init__(f"{reason}, in {rule}", reason=reason, rule=rule)


class QueryLimit(LimitExceeded):
    """A query passed one of its budgets. Fields: limit, value, maximum, derived (facts), read (rows looked at)."""

    code = "query_limit"
    derived: int
    read: int

    def __init__(self, limit: str, value: int, maximum: int, derived: int, read: int) -> None:
        DagBoxError.__init__(
            self,
            f"the query was stopped: {limit} reached {value}, the most allowed is {maximum}"
            f" ({derived} facts derived, {read} rows read): bind more arguments or raise the budget",
            limit=limit,
            value=value,
            maximum=maximum,
            derived=derived,
            read=read,
        )


class QueryDeadline(DeadlineExceeded):
    """A query was not done in time. Fields: service, timeout_ms, derived (facts), read (rows looked at)."""

    code = "query_deadline"
    derived: int
    read: int

    def __init__(self, service: str, timeout_ms: int, derived: int, read: int) -> None:
        DagBoxError.__init__(
            self,
            f"the query was not done within {timeout_ms / 1000:g} s"
            f" ({derived} facts derived, {read} rows read): bind more arguments or give it more time",
            service=service,
            timeout_ms=timeout_ms,
            derived=derived,
            read=read,
        )
