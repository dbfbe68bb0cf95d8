"""The forms in which a nested read gives what it found: maps for the wire, nodes for a program in the same process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from dagbox.errors import InvalidArgument, UnreadableRecord
from dagbox.protocol.values import Node, extension_in_data, pack_data, unpack_data, unpackb

Name = tuple[str, str]
"""Bucket and key of a record."""
Below = dict[str, list[Any]]
"""Name of a relation -> its objects. The planner fills the lists as it gets there."""


_NIL = pack_data(None)

FoundRecord = tuple[int, bytes]
"""A record as the driver gives it: version, packed data."""


class Shape(Protocol):
    """Make the objects of the replies; one for each request."""

    def make_all(
        self, names: Sequence[Name], records: Sequence[FoundRecord | None], belows: Sequence[Below | None]
    ) -> list[Any]:
        """Return an object for each record, or for the lack of it.

        Args:
            belows: for each object, the lists of its relations; None if none were asked for.
        """

    def note_more(self, item: Any, relation: str, count: int, after: str | None = None) -> None:
        """Note in an object how many objects of a relation a limit left out, and the cursor to go on with."""

    def mark_circle(self, item: Any) -> None:
        """Mark an object whose record led to it, and is not followed again."""

    def change_data(self, item: Any, view: Callable[[Any], Any]) -> None:
        """Give a part of the data of an object whose record was found, once its relations were followed."""

    def data_of(self, item: Any) -> Any:
        """Return the unpacked data of an object whose record was found; None if they are not a value."""

    def result(self, root: Any) -> Any:
        """Return the reply of a read, from the object at its root."""


class Maps:
    """Objects as they go over the wire, with their data packed. Data are unpacked for paths only, once a record."""

    def __init__(self) -> None:
        self._unpacked: dict[Name, Any] = {}

    def make_all(
        self, names: Sequence[Name], records: Sequence[FoundRecord | None], belows: Sequence[Below | None]
    ) -> list[dict[str, Any]]:
        """See `Shape`; data that are not a value are given as they are, for the client to tell."""
        items: list[dict[str, Any]] = [
            {"bucket": name[0], "key": name[1], "found": False, "version": 0, "data": None}
            if record is None
            else {"bucket": name[0], "key": name[1], "found": True, "version": record[0], "data": record[1]}
            for name, record in zip(names, records, strict=True)
        ]
        for item, below in zip(items, belows, strict=True):
            if below is not None:
                item["relations"] = below
        return items

    def note_more(self, item: dict[str, Any], relation: str, count: int, after: str | None = None) -> None:
        item.setdefault("more", {})[relation] = count
        if after is not None:
            item.setdefault("after", {})[relation] = after

    def mark_circle(self, item: dict[str, Any]) -> None:
        item["circle"] = True

    def change_data(self, item: dict[str, Any], view: Callable[[Any], Any]) -> None:
        data = self.data_of(item)
        if data is not None or item["data"] == _NIL:
            try:
                item["data"] = pack_data(view(data))
            except InvalidArgument:
                pass  # nested deeper than is packed, by a client of another kind: all of them are given

    def data_of(self, item: dict[str, Any]) -> Any:
        name = item["bucket"], item["key"]
        try:
            return self._unpacked[name]
        except KeyError:
            pass
        try:
            data = unpack_data(item["data"])
        except InvalidArgument:
            data = None
        self._unpacked[name] = data
        return data

    def result(self, root: dict[str, Any]) -> dict[str, Any]:
        return root


class Flawed(NamedTuple):
    """The reply of a read that found data which are not a value: the node at its root, and the error of each record."""

    node: Node
    errors: dict[Name, UnreadableRecord]


class Nodes:
    """Objects as `Database.fetch` returns them, each with data of its own."""

    def __init__(self) -> None:
        self._flawed = False

    def make_all(
        self, names: Sequence[Name], records: Sequence[FoundRecord | None], belows: Sequence[Below | None]
    ) -> list[Node]:
        """See `Shape`."""
        extension = extension_in_data
        try:
            return [
                Node(name[0], name[1], False, 0, None, below or {}, {})
                if record is None
                else Node(
                    name[0],
                    name[1],
                    True,
                    record[0],
                    unpackb(record[1], ext_hook=extension, strict_map_key=False, timestamp=3),
                    below or {},
                    {},
                )
                for name, record, below in zip(names, records, belows, strict=True)
            ]
        except (ValueError, TypeError, OverflowError, RecursionError):
            return [self._node(*each) for each in zip(names, records, belows, strict=True)]

    def _node(self, name: Name, record: FoundRecord | None, below: Below | None) -> Node:
        """Make one node, with care: its data may have a list as a key, or be no value."""
        if record is None:
            return Node(*name, False, 0, None, below or {})
        node = Node(*name, True, record[0], None, below or {})
        try:
            node.data = unpack_data(record[1])
        except InvalidArgument as error:
            node.error = UnreadableRecord(*name, error.message)
            self._flawed = True
        return node

    def note_more(self, item: Node, relation: str, count: int, after: str | None = None) -> None:
        item.more[relation] = count
        if after is not None:
            item.cursors = {**(item.cursors or {}), relation: after}

    def mark_circle(self, item: Node) -> None:
        item.circle = True

    def change_data(self, item: Node, view: Callable[[Any], Any]) -> None:
        if item.error is None:
            item.data = view(item.data)

    def data_of(self, item: Node) -> Any:
        return item.data

    def result(self, root: Node) -> Node | Flawed:
        """See `Shape`; the reply is `Flawed` if the read found data that are not a value."""
        if not self._flawed:
            return root
        errors: dict[Name, UnreadableRecord] = {}
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node.error is not None:
                errors[(node.bucket, node.key)] = node.error
            for nodes in node.relations.values():
                waiting += nodes
        return Flawed(root, errors) if errors else root
