"""The types of arguments: declared, or following from rules, derivations and the facts there are.

`any` agrees with everything; `text` with every bucket (keys are text); `number`, `boolean` and
`time` with themselves only.

A declaration binds: no fact is stored that does not fit. What follows from rules binds nobody, since a predicate that
is not declared may have facts of any type besides its rules. So a type is inferred only as far as the facts agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from types import MappingProxyType

from dagbox.datalog.language.terms import (
    Aggregate,
    Arg,
    Atom,
    Const,
    Derivation,
    Literal,
    Not,
    Param,
    Rule,
    Value,
    Var,
)
from dagbox.errors import TypeMismatch
from dagbox.protocol.booleans import Boolean

TEXT, NUMBER, BOOLEAN, TIME, ANY = "text", "number", "boolean", "time", "any"
NO_TEXT = frozenset((NUMBER, BOOLEAN, TIME))
"""The types of values that are no text; a type that is not named here is a bucket."""

Kinds = Callable[[str], Sequence[str]]
"""What the facts of a predicate have as each argument: a type, `any` for several, empty for none (yet)."""


Raw = tuple[str, ...]
"""What the rules of a predicate give as each argument: a type, `any` for several, empty for what they only pass on."""


def type_of(value: Value) -> str:
    """The type of a constant."""
    if isinstance(value, str):
        return TEXT
    if isinstance(value, Boolean):
        return BOOLEAN
    return TIME if isinstance(value, datetime) else NUMBER


def kinds_of(rows: Iterable[Sequence[Value]]) -> tuple[str, ...]:
    """The types that the rows have as each argument, as `Kinds` tells it; `()` for no rows."""
    found: list[str] = []
    for row in rows:
        kinds = list(map(type_of, row))
        found = list(map(joined, found, kinds)) if found else kinds
    return tuple(found)


def joined(one: str, other: str) -> str:
    """The type of what may be of either; empty is of nothing at all."""
    return one or other if not one or not other or one == other else ANY


def joined_kinds(one: Sequence[str], other: Sequence[str]) -> Sequence[str]:
    """The types of facts that are in two places."""
    return tuple(map(joined, one, other)) if one and other else one or other


def derived_types(
    derivations: Iterable[Derivation], others: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> dict[str, tuple[str, ...]]:
    """The types of what records give by derivations and others: the keys of their bucket, and values of any type."""
    derived = dict(others)
    for one in derivations:
        own = tuple(one.bucket if path == ("key",) else ANY for path in one.paths)
        derived[one.predicate] = tuple(map(joined, derived.get(one.predicate, own), own))
    return derived


class Types:
    """Checks and infers what the arguments are.

    Args:
        types: predicate -> the type of each argument; grows by what is inferred.
        raw: the same as rules alone say it; grows too.
    """

    def __init__(self, types: dict[str, tuple[str, ...]], raw: dict[str, Raw] | None = None) -> None:
        self.types = types
        self.raw: dict[str, Raw] = {} if raw is None else raw

    def check(self, rule: Rule, shown: object = None) -> None:
        """Check a rule, or what is shown as its text in the error. Raises TypeMismatch."""
        seen: dict[str, str] = {}
        positive = [one for one in rule.body if isinstance(one, Atom)]
        for atom in positive:
            self._check_atom(atom, seen, rule, shown)
            for number, arg in enumerate(atom.args):
                if isinstance(arg, Var) and arg.name != "_":
                    seen[arg.name] = _narrower(self._type(atom.predicate, number), seen.get(arg.name, ANY))
        for atom in (*(one.atom for one in rule.body if isinstance(one, Not)), rule.head):
            self._check_atom(atom, seen, rule, shown)

    def _check_atom(self, atom: Atom, seen: Mapping[str, str], rule: Rule, shown: object) -> None:
        for number, arg in enumerate(atom.args):
            declared, actual = self._type(atom.predicate, number), self._of(arg, seen)
            if not _agree(declared, actual):
                text = str(rule if shown is None else shown)
                raise TypeMismatch(_named(arg), atom.predicate, number + 1, declared, actual, text, arg.at)

    def infer(
        self,
        strata: Iterable[Sequence[str]],
        rules: Mapping[str, Sequence[Rule]],
        derivations: Iterable[Derivation],
        kinds: Kinds,
        check: Callable[[], None],
        widely: bool = False,
    ) -> None:
        """Add the types of predicates that are not declared.

        Args:
            strata: the predicates of rules, each after those it needs or together with them.
            rules: by the predicate of their head.
            kinds: of the facts there are.
            check: called for each predicate each time; what it raises ends the work.
            widely: whether text that is a fact beside the keys of a bucket may be the keys of another.
        """
        declared, derived = frozenset(self.types), derived_types(derivations)
        self.take_derived(derived, declared, kinds, widely)
        for group in strata:
            self.infer_group(group, declared, rules, derived, kinds, check, widely)

    def take_derived(
        self, derived: Mapping[str, tuple[str, ...]], declared: Set[str], kinds: Kinds, widely: bool = False
    ) -> None:
        """Add the types of what records give, where they are not declared."""
        for name, own in derived.items():
            if name not in declared:
                self.types[name] = held(own, kinds(name), widely)

    def infer_group(
        self,
        group: Sequence[str],
        declared: Set[str],
        rules: Mapping[str, Sequence[Rule]],
        derived: Mapping[str, tuple[str, ...]],
        kinds: Kinds,
        check: Callable[[], None],
        widely: bool = False,
    ) -> None:
        """Add the types of predicates that need each other; in whatever order they come, they are the same."""
        open_ones = sorted([name for name in group if name not in declared and name in rules])
        for _ in open_ones:
            before = [self.types.get(name) for name in open_ones]
            for name in open_ones:
                check()
                self.raw[name] = self.raw_of_rules(name, rules[name], derived.get(name))
                self.types[name] = held(self.raw[name], kinds(name), widely)
            if before == [self.types[name] for name in open_ones]:
                break

    def raw_of_rules(self, name: str, rules: Sequence[Rule], derived: tuple[str, ...] | None) -> Raw:
        """Return what the arguments of a predicate are by rules of it and its derivations."""
        found = [""] * len(rules[0].head.args) if derived is None else list(derived)
        for rule in rules:
            seen: dict[str, str] = {}
            own: dict[str, int] = {}
            for atom in (one for one in rule.body if isinstance(one, Atom)):
                for number, arg in enumerate(atom.args):
                    if isinstance(arg, Var) and atom.predicate != name:
                        seen[arg.name] = _narrower(self._type(atom.predicate, number), seen.get(arg.name, ANY))
                    elif isinstance(arg, Var):
                        own[arg.name] = number
            for number, arg in enumerate(rule.head.args):
                passed_on = isinstance(arg, Var) and own.get(arg.name) == number and arg.name not in seen
                if not passed_on:
                    found[number] = joined(found[number], self._of(arg, seen))
        return tuple(found)

    def _type(self, predicate: str, number: int) -> str:
        types = self.types.get(predicate)
        return types[number] if types else ANY

    def _of(self, arg: Arg, seen: Mapping[str, str]) -> str:
        if isinstance(arg, Const):
            return type_of(arg.value)
        if isinstance(arg, Var):
            return seen.get(arg.name, ANY)
        if isinstance(arg, Param):
            return ANY
        if isinstance(arg, Aggregate) and arg.func in ("min", "max"):
            return self._of(arg.of, seen)
        return NUMBER


def held(raw: Raw, kinds: Sequence[str], widely: bool = False) -> tuple[str, ...]:
    """The types as far as the facts agree with them."""
    types = tuple(kind or ANY for kind in raw)
    if len(kinds) != len(types):
        return types  # there are none
    return tuple(
        ANY if kind == ANY or not _agree(one, kind or ANY) else kind if widely and kind == TEXT != one != ANY else one
        for one, kind in zip(types, kinds, strict=True)
    )


def atoms(body: Iterable[Literal]) -> Iterator[Atom]:
    """The atoms of a body, those of negations among them."""
    for literal in body:
        if isinstance(literal, Atom):
            yield literal
        elif isinstance(literal, Not):
            yield literal.atom


def _named(arg: Arg) -> str:
    """Return an argument as error messages name it."""
    return f"text {arg}" if isinstance(arg, Const) and isinstance(arg.value, str) else str(arg)


def _agree(one: str, other: str) -> bool:
    if ANY in (one, other) or one == other:
        return True
    return TEXT in (one, other) and NO_TEXT.isdisjoint((one, other))


def _narrower(one: str, other: str) -> str:
    if one == ANY or (one == TEXT and other != ANY):
        return other
    return one
