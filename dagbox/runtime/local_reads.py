"""Plain reads that a broker answers itself, from the files of its own directory.

A read that would find no queue takes two hops less this way: the broker and the client are all that wakes up. The
broker has one thread, so what could keep it is given to the readers: records that are large, and all reads for a
while once one took long (its page had to come from the disk), once the store failed, or once those of one turn of the
loop had their share.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dagbox.errors import DagBoxError, StoreError
from dagbox.protocol.validate import record_name
from dagbox.protocol.values import new_packer, unpack_trusted
from dagbox.store import open_store, store_identity

if TYPE_CHECKING:
    from dagbox.store.lmdb.store import LmdbStore

MAX_BODY_BYTES = 1024
"""Bytes of the body of a request that may be a plain read; a longer one is for the readers."""
MAX_RECORD_BYTES = 64 * 1024
"""Bytes of the data of a record that the broker carries itself."""
TURN_S = 0.005
"""Seconds that the reads of one turn of the loop may take together."""
SLOW_S = 0.002
"""Seconds after which a read took long."""
REST_S = 1.0
"""Seconds in which the readers do everything, after a read that took long or a failure of the store."""
LOOK_S = 0.25
"""Seconds between two looks at the identity of the files."""
_PLAIN = {"bucket", "key"}


class LocalReads:
    """The broker's own way to the records of a directory; belongs to the broker's thread.

    Args:
        directory: that of the store, which need not be there yet.
        clock: monotonic seconds.
        identity: device and inode of the data file that the workers serve; None: whatever is there.
    """

    def __init__(self, directory: str, clock: Callable[[], float], identity: tuple[int, int] | None = None) -> None:
        self._directory = os.path.realpath(directory)
        self._clock = clock
        self._identity = identity
        self._pack = new_packer()
        self._store: LmdbStore | None = None
        self._look_at = 0.0
        self._rests_until = 0.0
        self._left_s = TURN_S

    def new_turn(self) -> None:
        """Begin a turn of the loop."""
        self._left_s = TURN_S

    def read(self, body: bytes, now: float) -> tuple[bytes, float] | None:
        """Return the packed answer to a plain read, and the seconds that it took; None if it is for the readers.

        Args:
            body: of the request, packed.
            now: monotonic seconds.
        """
        if self._left_s <= 0.0 or now < self._rests_until or len(body) > MAX_BODY_BYTES:
            return None
        try:
            asked = unpack_trusted(body)
            if type(asked) is not dict or asked.keys() != _PLAIN:
                return None
            answer = self._answer(asked["bucket"], asked["key"], now)
        except StoreError:
            self._rests_until = now + REST_S  # to open it again and again would keep the loop
            return None
        except (DagBoxError, ValueError, TypeError, OverflowError, RecursionError):
            return None  # whatever is wrong with it, the reader says so
        took_s = self._clock() - now
        self._left_s -= took_s
        if took_s >= SLOW_S:
            self._rests_until = now + REST_S
        return None if answer is None else (answer, took_s)

    def _answer(self, bucket: Any, key: Any, now: float) -> bytes | None:
        if type(bucket) is not str or type(key) is not str or bucket[:1] in ("", "~"):
            return None
        store = self._store
        if store is None or now >= self._look_at:
            store = self._open(now)
            if store is None:
                return None
        stored = store.get(bucket, key)
        if stored is None:
            record_name(bucket, key)
            return self._pack({"bucket": bucket, "key": key, "found": False, "version": 0, "data": None})
        if len(stored.data) > MAX_RECORD_BYTES:
            return None
        item = {"bucket": bucket, "key": key, "found": True, "version": stored.version, "data": stored.data}
        return self._pack(item)

    def _open(self, now: float) -> LmdbStore | None:
        """Return the store whose files have the directory's names now, None if there is none."""
        identity = store_identity(self._directory)
        if self._store is not None and self._store.identity != identity:
            self.close()
        if self._store is None and identity is not None and self._identity in (None, identity):
            self._store = open_store(self._directory, readonly=True)
            self._left_s = 0.0  # opening took time: let the loop go on
        self._look_at = now + LOOK_S
        return self._store

    def close(self) -> None:
        """Close the store. Idempotent."""
        store, self._store = self._store, None
        if store is not None:
            store.close()
