"""Results of commands; `render/` shows each in every format.

Rows may be a generator: they are shown as they come, and never kept. `notes` is read when all is shown: it says
what was left out, so that nothing is cut silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import dagbox

T = TypeVar("T")


class Phrase(str):
    """Words of the shell itself among the values of a result: shown without quotes."""

    __slots__ = ()


@dataclass(slots=True)
class Nodes:
    """Records, perhaps with relations. Shown as trees unless `table` says that a table reads better.

    Args:
        items: nodes or records, in order.
        table: whether a table is what people expect.
        fields: the fields of the data to show as columns; empty: the whole data in one column.
        unreadable: the errors of records that were left out, when all is shown; the command then fails.
    """

    items: Iterable[dagbox.Node | dagbox.Record]
    table: bool = False
    fields: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    unreadable: list[dagbox.UnreadableRecord] = field(default_factory=list)


@dataclass(slots=True)
class Rows:
    """Rows with named columns.

    Args:
        columns: what the table shows, in order; documents hold all that the row has.
        rows: column -> value, for each row.
        noun: what a row is, for "3 locks".
        raw: the column that the raw format shows alone; "" for all, divided by tabs.
        tree: whether a tree for each row is what people expect.
        shown: makes of a row what a table shows of it; documents always hold the row itself.
        data: whether the values are data of users, which may be of any type.
        unreadable: as those of `Nodes`.
    """

    columns: tuple[str, ...]
    rows: Iterable[Mapping[str, Any]]
    noun: str = "row"
    raw: str = ""
    tree: bool = False
    shown: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    data: bool = False
    notes: list[str] = field(default_factory=list)
    unreadable: list[dagbox.UnreadableRecord] = field(default_factory=list)


@dataclass(slots=True)
class Detail:
    """One thing with its parts, shown as a tree.

    Args:
        title: what it is.
        value: its parts: maps, lists and plain values.
        document: what JSON shows; by default the value.
    """

    title: str
    value: Any
    document: Any = None
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """A deed that was done: a sentence for people, a document for programs.

    Args:
        unreadable: as those of `Nodes`.
    """

    text: str
    document: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)
    unreadable: list[dagbox.UnreadableRecord] = field(default_factory=list)

    @classmethod
    def written(cls, ref: dagbox.Ref) -> Outcome:
        """Return the outcome of writing a record."""
        return cls(f"{ref}  version {ref.version}", {"bucket": ref.bucket, "key": ref.key, "version": ref.version})


@dataclass(slots=True)
class Text:
    """Text for people only, in lines of styled parts; `help`."""

    lines: Iterable[list[tuple[str, str]]]
    document: Any = None
    notes: list[str] = field(default_factory=list)


Result = Nodes | Rows | Detail | Outcome | Text
