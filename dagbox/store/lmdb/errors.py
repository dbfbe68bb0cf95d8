"""The meaning of LMDB's errors. No error of LMDB's own leaves the store."""

from __future__ import annotations

import errno

import lmdb

from dagbox.errors import (
    DagBoxError,
    LimitExceeded,
    StoreBroken,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

MAX_READERS = 2048
"""The most snapshots that may be open at once, in all processes together."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_DAMAGED = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.CursorFullError, lmdb.PageFullError)
_NOT_OURS = (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.IncompatibleError)


def from_lmdb(path: str, error: lmdb.Error) -> DagBoxError:
    """The error of ours that says what an error of LMDB's means for the store in a directory."""
    reason = " ".join(str(error).split())
    code = getattr(error, "code", 0)
    if isinstance(error, (lmdb.DiskError, lmdb.MapFullError)) or code in _NO_ROOM:
        return StoreFull(path, reason)
    if isinstance(error, lmdb.PanicError):
        return StoreBroken(path, "a commit failed half-way; what was acknowledged is there")
    if isinstance(error, _DAMAGED):
        return StoreCorrupt(path, reason)
    if isinstance(error, _NOT_OURS):
        return StoreUnavailable(path, f"its data file is not one that LMDB {lmdb_version()} reads ({reason})")
    if isinstance(error, lmdb.ReadersFullError):
        return LimitExceeded("the number of open snapshots", MAX_READERS + 1, MAX_READERS)
    if isinstance(error, lmdb.TxnFullError):
        return StoreError(f"one commit to {path} is too large: write smaller batches")
    if isinstance(error, lmdb.ReadonlyError) or code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreUnavailable(path, f"it may not be written ({reason})")
    return StoreError(f"the store in {path} failed: {reason}", path=path, reason=reason)


def lmdb_version() -> str:
    """The version of the LMDB that is linked in."""
    return ".".join(map(str, lmdb.version()))
