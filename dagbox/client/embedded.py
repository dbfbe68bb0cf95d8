"""The embedded database: the surface over an `EmbeddedNode`, with short ways for the reads that programs do most."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dagbox.client import answers, operations
from dagbox.client._sync.database import DEFAULT_TIMEOUT_S, Database
from dagbox.client.operations import MISSING, Target
from dagbox.embedded.node import EmbeddedNode, open_node
from dagbox.errors import DagBoxError, InvalidArgument, NotFound, StoreError, UnknownBucket
from dagbox.protocol.validate import flag
from dagbox.protocol.values import Record, Ref, extension_in_data, unpackb
from dagbox.store.base import Store
from dagbox.transport.base import Call, value_of


def closed_database(path: str) -> StoreError:
    """Return the error of a call to a closed database."""
    return StoreError(f"the database in {path} is closed: open it again")


class EmbeddedTransport:
    """Calls to the node of this process, for the blocking client."""

    embedded = True

    def __init__(self, node: EmbeddedNode) -> None:
        self.node = node
        self.address = node.path
        self._closed = False

    def start(self) -> None:
        """Nothing: the store is open."""

    def call(self, call: Call) -> Any:
        """Do one request; raises what it failed with."""
        if self._closed:
            raise closed_database(self.address)
        broker = self.node.broker_for(call.service)
        if broker is not None:
            return broker.call(call)
        return value_of(self.node.call(call.service, call.body, call.timeout_s, untraced=call.untraced))

    def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """Do all requests, in order; an answer or error for each."""
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> Any:
        try:
            return self.call(call)
        except DagBoxError as error:
            return error

    def refuse_reentry(self) -> None:
        """As `EmbeddedNode.refuse_reentry`."""
        if not self._closed:
            self.node.refuse_reentry()

    def close(self) -> None:
        """Release the node. Idempotent."""
        if not self._closed:
            self._closed = True
            self.node.close()


def read_records(store: Store, pairs: Sequence[tuple[str, str]], skip: operations.Skip | None) -> list[Record | None]:
    """Return the records of checked pairs, in order; see `Database.get_many`."""
    return answers.records_of(pairs, store.get_many(pairs), skip)


class ShortReads:
    """Reads by the fast path, which both embedded databases have."""

    _node: EmbeddedNode

    def _not_found(self, target: Any, key: Any, default: Any) -> Any:
        bucket, key = operations.split_target(target, key)
        if default is not MISSING:
            return default
        with self._node.store.snapshot() as snapshot:
            known = snapshot.buckets()
        if bucket not in known:
            raise UnknownBucket(bucket, sorted(known)[:20])
        raise NotFound(bucket, key)


class EmbeddedDatabase(Database, ShortReads):
    """A database in this process. Safe to use from many threads."""

    def __init__(self, node: EmbeddedNode, *, timeout: float = DEFAULT_TIMEOUT_S) -> None:
        super().__init__(EmbeddedTransport(node), timeout=timeout)
        self._node = node
        self.reads = 0
        """Reads by the short way; the node adds them to its figures."""
        node.count_reads_of(self)
        self._get_data: Callable[[Any, str], bytes | None] = node.store.get_data

    def get(self, target: Target, key: str | None = None, default: Any = MISSING) -> Any:
        """As `Database.get`."""
        # One frame between the program and the store: this is what programs do most, and what they measure.
        if key is not None:
            self.reads += 1
            data = self._get_data(target, key)
            if data is not None:
                try:
                    return unpackb(data, ext_hook=extension_in_data, strict_map_key=False, timestamp=3)
                except operations.NOT_PLAIN:
                    return operations.decode(str(target), key, data)
            return self._not_found(target, key, default)
        bucket, key = operations.split_target(target, key)
        return self.get(bucket, key, default)

    def close(self) -> None:
        """As `Database.close`."""
        self._transport.refuse_reentry()
        self._get_data = self._closed
        super().close()

    def _closed(self, bucket: str, key: str) -> bytes | None:
        raise closed_database(self.address)

    def observe(self) -> None:
        """Have the short way tell the node's observer of each read."""
        self._get_data = self._node.get_data

    def get_record(self, target: Target, key: str | None = None, default: Any = MISSING) -> Any:
        """As `Database.get_record`."""
        bucket, key = operations.split_target(target, key)
        if self._get_data == self._closed:
            raise closed_database(self.address)
        self.reads += 1
        stored = self._node.store.get(bucket, key)
        if stored is None:
            return self._not_found(bucket, key, default)
        return Record(bucket, key, stored[0], operations.decode(bucket, key, stored[1]))

    def get_many(
        self, targets: Iterable[Ref | tuple[str, str]], *, skip: operations.Skip | None = None
    ) -> list[Record | None]:
        """As `Database.get_many`; always of one moment."""
        pairs = operations.get_many_pairs(targets)
        if self._get_data == self._closed:
            raise closed_database(self.address)
        self.reads += 1
        return read_records(self._node.store, pairs, skip)


def open_embedded(path: str | os.PathLike[str], *, serve: bool, timeout: float, **settings: Any) -> EmbeddedDatabase:
    """Open a directory in this process, and answer on its address if `serve`.

    Args:
        settings: of the store; those that are None have their defaults.
    """
    node = open_checked(path, serve, timeout, settings)
    database = EmbeddedDatabase(node, timeout=timeout)
    if serve:
        database.observe()
    return database


def open_checked(path: object, serve: object, timeout: object, settings: dict[str, Any]) -> EmbeddedNode:
    """Open the node of a directory, once every argument was checked: nothing is made for a wrong one.

    Args:
        serve: whether it is to answer on the directory's address.
        settings: of the store; of those that may be None it is the default.
    """
    serves = serve is not False and flag(serve, "serve")
    if serves and path == ":memory:":
        raise InvalidArgument("serve needs a directory, which others find the program by: leave it out for :memory:")
    given = {name: value for name, value in settings.items() if value is not None or name == "durability"}
    directory = "" if path == ":memory:" else check_directory(path)
    operations.span_ms("timeout", timeout, least_s=0.001)
    if path == ":memory:":
        from dagbox.embedded.memory import open_memory

        return open_memory(given)
    node = open_node(directory, **given)
    if serves:
        from dagbox.embedded.serve import serve_embedded

        try:
            node.on_close(serve_embedded(node))
        except BaseException:
            node.close()
            raise
    return node


def check_directory(path: Any) -> str | os.PathLike[str]:
    """The path of a directory to open. Raises InvalidArgument if it is an address, or no path at all."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InvalidArgument(f"open a directory by its path, not {path!r:.60}")
    if isinstance(path, str) and "://" in path:
        raise InvalidArgument(f"{path} is an address: dagbox.connect goes there, dagbox.open opens a directory")
    return path
