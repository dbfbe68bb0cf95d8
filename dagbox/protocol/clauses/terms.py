"""The types of clauses. Each has a text (`str`) and a wire form (`to_wire`), which are read back as the same.

A path is a tuple of steps. `("", "key")`, `("", "version")` and `("", "bucket")` are those of the record itself,
written `@key` and so on.
"""

from __future__ import annotations

import base64
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from dagbox.protocol.values import Ref

Path = tuple[str, ...]
Constant = bool | int | float | str | bytes | datetime | Ref | None
CompareOp = Literal["=", "!=", "<", "<=", ">", ">=", "prefix"]

ATTRIBUTES = ("key", "version", "bucket")
"""What a record has beside its data: `@key`, ..."""
COMPARISONS: tuple[CompareOp, ...] = ("=", "!=", "<", "<=", ">", ">=", "prefix")
KEYWORDS = frozenset(("and", "or", "not", "in", "prefix"))
"""Words of a condition that are written in quotes where they name a field."""

_BARE = re.compile(r"[^\W\d][\w-]*")
_BARE_LATER = re.compile(r"[\w-]+")
_BARE_REF = re.compile(r"""[^\s"'()\[\],|>]+""")


class Condition(ABC):
    """A condition on a record. Conditions are joined by `&`, `|` and `~`."""

    __slots__ = ()

    def __and__(self, other: Condition) -> Junction:
        return Junction("and", (self, _condition(other)))

    def __or__(self, other: Condition) -> Junction:
        return Junction("or", (self, _condition(other)))

    def __invert__(self) -> Negation:
        return Negation(self)

    def __bool__(self) -> bool:
        raise TypeError("conditions are joined by &, | and ~, each in brackets: (F.age > 30) & (F.name == 'Ada')")

    @abstractmethod
    def to_wire(self) -> list[Any]:
        """Return the wire form."""


def _condition(value: object) -> Condition:
    if isinstance(value, Condition):
        return value
    raise TypeError(f"a condition such as F.age > 30 is joined with another, not with {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Param:
    """The place of a value that the read's `params` give."""

    name: str

    def __str__(self) -> str:
        return f"${self.name}"

    def to_wire(self) -> dict[str, str]:
        """Return the wire form."""
        return {"param": self.name}


@dataclass(frozen=True, slots=True)
class Compare(Condition):
    """A comparison of what is at a path with a value."""

    op: CompareOp
    path: Path
    value: Constant | Param

    def __str__(self) -> str:
        return f"{path_text(self.path)} {self.op} {value_text(self.value)}"

    def to_wire(self) -> list[Any]:
        """Return the wire form."""
        return [self.op, list(self.path), value_to_wire(self.value)]


@dataclass(frozen=True, slots=True)
class OneOf(Condition):
    """A test whether what is at a path is one of some values."""

    path: Path
    values: tuple[Constant | Param, ...] | Param

    def __str__(self) -> str:
        values = self.values
        shown = str(values) if isinstance(values, Param) else f"[{', '.join(map(value_text, values))}]"
        return f"{path_text(self.path)} in {shown}"

    def to_wire(self) -> list[Any]:
        """Return the wire form."""
        values = self.values
        listed = values.to_wire() if isinstance(values, Param) else [value_to_wire(value) for value in values]
        return ["in", list(self.path), listed]


@dataclass(frozen=True, slots=True)
class Junction(Condition):
    """All of some conditions, or one of them."""

    op: Literal["and", "or"]
    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return f" {self.op} ".join(f"({part})" if isinstance(part, Junction) else str(part) for part in self.parts)

    def to_wire(self) -> list[Any]:
        """Return the wire form."""
        return [self.op, *(part.to_wire() for part in self.parts)]


@dataclass(frozen=True, slots=True)
class Negation(Condition):
    """The opposite of a condition."""

    part: Condition

    def __str__(self) -> str:
        return f"not ({self.part})"

    def to_wire(self) -> list[Any]:
        """Return the wire form."""
        return ["not", self.part.to_wire()]


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """A path to order by."""

    path: Path
    descending: bool = False

    def __str__(self) -> str:
        return f"{path_text(self.path)}{' desc' if self.descending else ''}"

    def to_wire(self) -> dict[str, Any]:
        """Return the wire form."""
        return {"field": list(self.path), "desc": self.descending}


Order = tuple[OrderTerm, ...]


@dataclass(frozen=True, slots=True)
class Clauses:
    """The clauses of a relation or scan, but for `limit`.

    Attributes:
        where: what records must be; None: all.
        order: the order of the records; None: that in which they are found.
        after: the cursor after which they begin.
        fields: the paths that are given of each; None: all of its data.
        default: values of fields that are missing, (path, value) each.
    """

    where: Condition | None = None
    order: Order | None = None
    after: str | None = None
    fields: tuple[Path, ...] | None = None
    default: tuple[tuple[Path, Any], ...] = ()

    @property
    def sifts(self) -> bool:
        """Return True if they drop or order records."""
        return self.where is not None or self.order is not None

    @property
    def changes(self) -> bool:
        """Return True if they change the data that is given."""
        return self.fields is not None or bool(self.default)


def order_text(order: Order) -> str:
    """Return the text of an order."""
    return ", ".join(map(str, order))


def path_text(path: Path) -> str:
    """Return a path as it is written."""
    if len(path) == 2 and not path[0]:
        return f"@{path[1]}"
    first, *others = path
    shown = first if _BARE.fullmatch(first) and first not in KEYWORDS else quoted(first)
    return ".".join([shown, *(step if _BARE_LATER.fullmatch(step) else quoted(step) for step in others)])


def quoted(text: str) -> str:
    """Return a text in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def value_text(value: Constant | Param) -> str:
    """Return a value as it is written."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Ref):
        name = str(value)
        return f"@{name}" if _BARE_REF.fullmatch(name) else f"@{quoted(name)}"
    if isinstance(value, datetime):
        return f'time "{value.isoformat()}"'
    if isinstance(value, bytes):
        return f'bytes "{base64.b64encode(value).decode()}"'
    return str(value)


def value_to_wire(value: Constant | Param) -> Any:
    """Return the wire form of a value."""
    return value.to_wire() if isinstance(value, Param) else value
