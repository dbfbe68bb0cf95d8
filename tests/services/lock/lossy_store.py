"""A store of durability "process" that can fail, and lose what was not synced in a power loss."""

from __future__ import annotations

from collections.abc import Sequence

from dagbox.errors import DagBoxError, StoreError
from dagbox.store.base import Applied, Batch
from dagbox.store.memory import MemoryStore


class LossyStore(MemoryStore):
    """A `MemoryStore` with a log of its commits; the first `synced` of them survive everything."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[list[Batch]] = []
        self.synced = 0
        self.fail_apply: StoreError | None = None
        self.fail_sync: StoreError | None = None
        self.failures = 0

    def after_power_loss(self, kept: int) -> LossyStore:
        """The store as it may be found: its first `kept` commits, and at least those that were synced."""
        found = LossyStore()
        for batches in self.log[: max(kept, self.synced)]:
            found.apply(batches)
        found.synced = len(found.log)
        self.close()
        return found

    def apply(self, batches: Sequence[Batch]) -> list[Applied | DagBoxError]:
        failure, self.fail_apply = self.fail_apply, None
        if failure is not None:
            self.failures += 1
            raise failure
        self.log.append(list(batches))
        return super().apply(batches)

    def sync(self) -> None:
        failure, self.fail_sync = self.fail_sync, None
        if failure is not None:
            self.failures += 1
            raise failure
        self.synced = len(self.log)
