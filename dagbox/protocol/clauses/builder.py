"""Python's query builder: `F.age > 30` makes what the text `age > 30` is read into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dagbox.protocol.clauses.terms import Compare, Condition, OneOf, OrderTerm, Param, Path, path_text
from dagbox.protocol.clauses.text import read_path_text


class FieldName:
    """A field in a query of Python: `F.age > 30`, `F.team.name == "core"`, `F["first name"]`, `F("@key")`.

    Comparing it gives a `Condition`; `desc()` gives a term of an order. A field that has the name of a method of this
    class is `F["desc"]`.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path = ()) -> None:
        self._path = path

    def __getattr__(self, name: str) -> FieldName:
        if name.startswith("_"):
            raise AttributeError(f"a field whose name begins with an underscore is F[{name!r}]")
        return FieldName((*self._path, name))

    def __getitem__(self, name: str | int) -> FieldName:
        return FieldName((*self._path, str(name)))

    def __call__(self, text: str) -> FieldName:
        return FieldName((*self._path, *read_path_text(text)))

    def __repr__(self) -> str:
        return f"<field {path_text(self._path)}>" if self._path else "<fields>"

    def __str__(self) -> str:
        return path_text(self._steps())

    def __hash__(self) -> int:
        return hash(self._path)

    def _steps(self) -> Path:
        """Return the steps of its path.

        Raises:
            TypeError: it names no field yet.
        """
        if not self._path:
            raise TypeError("F names no field: write F.age, or F['age']")
        return self._path

    def __eq__(self, value: object) -> Compare:  # type: ignore[override]
        return Compare("=", self._steps(), _constant(value))

    def __ne__(self, value: object) -> Compare:  # type: ignore[override]
        return Compare("!=", self._steps(), _constant(value))

    def __lt__(self, value: object) -> Compare:
        return Compare("<", self._steps(), _constant(value))

    def __le__(self, value: object) -> Compare:
        return Compare("<=", self._steps(), _constant(value))

    def __gt__(self, value: object) -> Compare:
        return Compare(">", self._steps(), _constant(value))

    def __ge__(self, value: object) -> Compare:
        return Compare(">=", self._steps(), _constant(value))

    def in_(self, values: Iterable[object] | Param) -> OneOf:
        """Return the condition that it is one of some values."""
        if isinstance(values, Param):
            return OneOf(self._steps(), values)
        return OneOf(self._steps(), tuple(map(_constant, values)))

    def startswith(self, prefix: str | Param) -> Compare:
        """Return the condition that it is a text with this beginning."""
        return Compare("prefix", self._steps(), prefix)

    def asc(self) -> OrderTerm:
        """Return the term of an order from low to high."""
        return OrderTerm(self._steps())

    def desc(self) -> OrderTerm:
        """Return the term of an order from high to low."""
        return OrderTerm(self._steps(), descending=True)


F = FieldName()


def _constant(value: Any) -> Any:
    """Return a value to compare with; the reader checks it."""
    if isinstance(value, FieldName):
        raise TypeError(f"{value!r} stands on the right: a field is compared with a value, or with Param('name')")
    return value


def clause_to_wire(value: Any) -> Any:
    """Return the wire form of a clause as a program gives it: what the query builder made becomes data."""
    if isinstance(value, Condition | OrderTerm | Param):
        return value.to_wire()
    if isinstance(value, FieldName):
        return list(value._steps())
    if isinstance(value, list | tuple):
        return [clause_to_wire(item) for item in value]
    if isinstance(value, Mapping):
        return {str(k) if isinstance(k, FieldName) else k: item for k, item in value.items()}
    return value
