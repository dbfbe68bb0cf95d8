"""The forms in which a nested read gives what it found: maps for the wire, nodes for a program in the same process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dagbox.errors import InvalidArgument, UnreadableRecord
from dagbox.protocol.values import Node, extension_in_data, pack_data, unpack_data, unpackb

Name = tuple[str, str]
"""Bucket and key of a record."""
Below = dict[str, list[Any]]
"""Name of a relation -> its objects. The planner fills the lists as it gets there."""


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

        Raises:
            UnreadableRecord: one of them is not a value.
        """

    def note_more(self, item: Any, relation: str, count: int, after: str | None = None) -> None:
        """Note in an object how many objects of a relation a limit left out, and the cursor to go on with."""

    def mark_circle(self, item: Any) -> None:
        """Mark an object whose record led to it, and is not followed again."""

    def change_data(self, item: Any, view: Callable[[Any], Any]) -> None:
        """Give a part of the data of an object whose record was found, once its relations were followed.

        Raises:
            InvalidArgument: they are not a value.
        """

    def data_of(self, item: Any) -> Any:
        """Return the unpacked data of an object whose record was found.

        Raises:
            InvalidArgument: they are not a value.
        """


class Maps:
    """Objects as they go over the wire, with their data packed. Data are unpacked for paths only, once a record."""

    def __init__(self) -> None:
        self._unpacked: dict[Name, Any] = {}

    def make_all(
        self, names: Sequence[Name], records: Sequence[FoundRecord | None], belows: Sequence[Below | None]
    ) -> list[dict[str, Any]]:
        """See `Shape`. Raises nothing."""
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
        item["data"] = pack_data(view(self.data_of(item)))

    def data_of(self, item: dict[str, Any]) -> Any:
        name = item["bucket"], item["key"]
        try:
            return self._unpacked[name]
        except KeyError:
            data = self._unpacked[name] = unpack_data(item["data"])
            return data


class Nodes:
    """Objects as `Database.fetch` returns them, each with data of its own."""

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
            return [_node(*each) for each in zip(names, records, belows, strict=True)]

    def note_more(self, item: Node, relation: str, count: int, after: str | None = None) -> None:
        item.more[relation] = count
        if after is not None:
            item.cursors = {**(item.cursors or {}), relation: after}

    def mark_circle(self, item: Node) -> None:
        item.circle = True

    def change_data(self, item: Node, view: Callable[[Any], Any]) -> None:
        item.data = view(item.data)

    def data_of(self, item: Node) -> Any:
        return item.data


def _node(name: Name, record: FoundRecord | None, below: Below | None) -> Node:
    """Make one node, with care: its data may have a list as a key, or be no value."""
    if record is None:
        return Node(*name, False, 0, None, below or {})
    try:
        return Node(*name, True, record[0], unpack_data(record[1]), below or {})
    except InvalidArgument as error:
        raise UnreadableRecord(*name, error.message) from None
