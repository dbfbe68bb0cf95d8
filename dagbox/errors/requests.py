"""Errors that a request ends with: refused, too late, in conflict, locked out, not served."""

from __future__ import annotations

from dagbox.errors.base import DagBoxError


class NotFound(DagBoxError, LookupError):
    """There is no such record. A LookupError too. Fields: bucket, key."""

    code = "not_found"
    ordinary = True
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
    ordinary = True
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
    ordinary = True
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
    """A write carried a fencing token other than the last one granted. Fields: key, token, highest."""

    code = "fenced"
    key: str
    token: int
    highest: int

    def __init__(self, key: str, token: int, highest: int) -> None:
        if token < highest:
            why = f"is older than {highest}: another has had the lock since"
        else:
            why = f"was never granted, the last one is {highest}: acquire the lock, and use its token"
        super().__init__(
            f"fencing token {token} for {key} {why}",
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


class NameTaken(DagBoxError):
    """Another worker of the service has that name, and is not dead. Fields: service, name."""

    code = "name_taken"
    service: str
    name: str

    def __init__(self, service: str, name: str) -> None:
        super().__init__(
            f"a worker of {service} has the name {name} already: wait until it is gone, or take another name",
            service=service,
            name=name,
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


class Reentered(DagBoxError, RuntimeError):
    """A signal handler or a finalizer made a call while it had interrupted one that must end first."""

    code = "reentered"

    def __init__(self) -> None:
        super().__init__(
            "a signal handler or finalizer interrupted a call that has to end first: note it there, and act afterwards"
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
