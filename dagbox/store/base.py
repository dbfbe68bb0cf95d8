"""The interface of a store: snapshots to read from, batches to write, and nothing about how it is kept.

Rules that every store keeps (`tests/store/contract.py` checks them for each):

1. A snapshot sees all of each batch or nothing of it, and never changes.
2. `apply` makes each batch atomic: either all its operations are done or none, and one batch's failure
   leaves the others alone. All batches of one call become durable together, in one commit.
3. Each batch that is done gets a number of its own, higher than all before: the version of the records it
   wrote. (Batches that share a commit do not share a version; if they did, a compare-and-set could not see
   that another batch of the same commit came after it.)
4. A batch with a request key is done once: a repeat within `REQUEST_MEMORY_S` gets the first one's result.
5. Data is bytes; no store looks into it.
6. A record whose time is over is not there, even before it is swept; nor is what is derived from it.
7. Bucket names that begin with `~` belong to DagBox; `buckets()` does not list them. A bucket is there while
   it has a record: it comes with its first one and goes with its last.
8. Bad input is a typed error: of the batch it is in, or raised by the read that got it. A closed snapshot and a
   closed store raise `StoreError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from dagbox.errors import DagBoxError
from dagbox.protocol.operations.writes import (
    AddRule,
    AssertFact,
    BatchItem,
    Check,
    Delete,
    DropRule,
    Fence,
    Grant,
    Put,
    RetractFact,
)
from dagbox.store.tables import TableReader

__all__ = [
    "REQUEST_MEMORY_S",
    "AddRule",
    "Applied",
    "AssertFact",
    "Batch",
    "Check",
    "Delete",
    "DropRule",
    "Entry",
    "Fence",
    "Grant",
    "Operation",
    "Put",
    "RetractFact",
    "Snapshot",
    "Store",
    "Stored",
]

REQUEST_MEMORY_S = 600.0
"""The least time for which the store remembers results of batches with a request key, in seconds."""


class Stored(NamedTuple):
    """A record as the store keeps it: version, packed data, expiry in ms since 1970 (0: never)."""

    version: int
    data: bytes
    expires_ms: int = 0


Found = tuple[int, bytes]
"""A record that was asked for with many: version, packed data."""


class Entry(NamedTuple):
    """A record found by a scan."""

    key: str
    stored: Stored


Operation = BatchItem | Fence | Grant
"""An operation in a batch of a store; its class documents its effect and its result."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Operations that happen together or not at all.

    Args:
        operations: applied in order; later ones see what earlier ones did.
        request: the key under which the result is remembered (client id, request id, position); None: not at all.
    """

    operations: Sequence[Operation]
    request: bytes | None = None


class Applied(NamedTuple):
    """The outcome of a batch: its number, and one result per operation."""

    version: int
    results: list[Any]


class PageBounds(NamedTuple):
    """Bounds of a page, and its order.

    Args:
        records: how many at most.
        size: bytes of data and characters of keys, at most; one record may exceed it.
        reverse: from high to low.
        keys_only: True to leave the data out.
    """

    records: int
    size: int
    reverse: bool = False
    keys_only: bool = False


PageEntry = tuple[str, int, bytes | None]
"""Key, version and data of a record; None for the data of a page of keys."""


class Page(NamedTuple):
    """Records, whether there are more, and whether one has a key that is not text (see `store/foreign`)."""

    entries: list[PageEntry]
    more: bool
    foreign: bool = False


@runtime_checkable
class Snapshot(Protocol):
    """A consistent view. A context manager; close it soon, it keeps old pages from being used again."""

    @property
    def now_ms(self) -> int:
        """The moment it was taken, in ms since 1970: what is over then is not in it."""

    @property
    def tables(self) -> TableReader:
        """The tables underneath, for what is not a record: facts and rules (`store/facts`)."""

    def get(self, bucket: str, key: str) -> Stored | None:
        """One record, or None."""

    def get_many(self, refs: Sequence[tuple[str, str]]) -> list[Found | None]:
        """The records of (bucket, key) pairs, in order; None for each that is not there."""

    def scan(
        self,
        bucket: str,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Entry]:
        """Records in the order of their keys' UTF-8 bytes, lazily; nothing for a bucket that is not there.

        Args:
            prefix: only keys that begin with it.
            start: the first key, included; with `reverse` still the lower bound.
            stop: the upper bound, excluded.
            limit: how many at most.
            reverse: from high to low.
        """

    def page(self, bucket: str, low: bytes, high: bytes | None, bounds: PageBounds) -> Page:
        """The records with low <= key < high up to the bounds of a page, as `scan` gives them; always one at least.

        A damaged record is one of version 0 whose data are no value.
        """

    def buckets(self) -> dict[str, int]:
        """Name -> number of entries, for the buckets that users may see."""

    def stats(self) -> dict[str, Any]:
        """Figures of the store: engine, version, entries, bytes; see each engine."""

    def close(self) -> None:
        """End the view. Idempotent."""

    def __enter__(self) -> Snapshot: ...

    def __exit__(self, *exc: object) -> None: ...


@runtime_checkable
class Store(Protocol):
    """Records in buckets; safe to use from many threads."""

    @property
    def path(self) -> str | None:
        """The directory it is kept in; None: in none."""

    @property
    def identity(self) -> tuple[int, int] | None:
        """The mark that no other open store has, wherever its directory is moved; None: it is in none."""

    def snapshot(self) -> Snapshot:
        """A consistent view of what is committed now."""

    def get(self, bucket: str, key: str) -> Stored | None:
        """One record as it is now, or None."""

    def get_data(self, bucket: str, key: str) -> bytes | None:
        """The data of one record of a user's bucket as it is now, or None: the shortest way to a record.

        Raises:
            BadBucket: a name that users may not use.
        """

    def get_many(self, refs: Sequence[tuple[str, str]]) -> list[Found | None]:
        """As `Snapshot.get_many`, in a snapshot of its own."""

    def apply(self, batches: Sequence[Batch]) -> list[Applied | DagBoxError]:
        """Do the batches, in order, in one commit, durably; one result or error for each.

        Raises:
            StoreError: the commit itself failed: nothing was done.
        """

    def sweep(self, limit: int = 1000) -> int:
        """Remove up to `limit` records whose time is over; how many there were."""

    def stats(self) -> dict[str, Any]:
        """As `Snapshot.stats`, and what belongs to the process: commits, batches, seconds spent in commits."""

    def sync(self) -> None:
        """Make durable what a store of durability "process" has only handed to the system."""

    def backup(self, path: str) -> None:
        """Write a consistent copy to a directory that does not exist or is empty, while work goes on."""

    def refuse_reentry(self) -> None:
        """Raise Reentered if this thread is in a call already, which a signal handler has interrupted."""

    def close(self) -> None:
        """Release all resources. Idempotent.

        Raises:
            Reentered: as `refuse_reentry`; nothing is closed.
        """
