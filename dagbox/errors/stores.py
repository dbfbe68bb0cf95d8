"""The store cannot do it, or somebody else has the role."""

from __future__ import annotations

from dagbox.errors.base import DagBoxError


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
    """The data on disk are not those that were written. Fields: path, reason."""

    code = "store_corrupt"
    path: str
    reason: str

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the store in {path} is damaged: {reason}", path=path, reason=reason)


class UnreadableRecord(StoreError):
    """The data of a record are not a value: damaged, or packed wrongly by a client. Fields: bucket, key, reason."""

    code = "unreadable_record"
    bucket: str
    key: str
    reason: str

    def __init__(self, bucket: str, key: str, reason: str, remedy: str = "delete the record or write it anew") -> None:
        super().__init__(
            f"the data of {bucket}/{key} cannot be read ({reason}): {remedy}",
            bucket=bucket,
            key=key,
            reason=reason,
        )


class StoreBroken(StoreError):
    """A failed commit left the engine unusable; the process has to open it again. Fields: path, reason."""

    code = "store_broken"
    path: str
    reason: str

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the store in {path} must be opened again: {reason}", path=path, reason=reason)


class InUse(DagBoxError):
    """Another process has that role. Fields: what, path, pid (0: not known)."""

    code = "in_use"
    what: str
    path: str
    pid: int

    def __init__(self, what: str, path: str, pid: int, hint: str = "") -> None:
        whose = f" (process {pid})" if pid else ""
        then = f": {hint}" if hint else ""
        super().__init__(f"{path} already has {what}{whose}{then}", what=what, path=path, pid=pid)
