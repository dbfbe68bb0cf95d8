"""More statements for a program that is right, at the cost of what they can change.

A rule is checked by itself, and against the arities of what it names; for a way back from its conditions to its head,
which is looked for from both ends at once; and where it changes a type, with the rules that use that type, and so on.
What is not seen to be right is left to the check of the whole program, which knows how to say what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagbox.datalog.language.terms import Aggregate, Atom, Declaration, Derivation, Not, Position, Rule, Statement
from dagbox.datalog.language.types import Kinds, Raw, Types, atoms, derived_types, held, joined, joined_kinds
from dagbox.errors import LogicError

if TYPE_CHECKING:
    from dagbox.datalog.language.program import Program

Check = Callable[[], None]


@dataclass(slots=True)
class Index:
    """Program parts by predicate.

    Args:
        arities: of what the statements name.
        users: rules with a condition on it.
        facts: facts of the program's own text, as rules without conditions.
        groups: the predicates that need each other, sorted; of one that has rules.
        derived: the types of what records give, see `derived_types`.
        raw: see `Types.raw`.
    """

    arities: dict[str, int]
    users: dict[str, tuple[Rule, ...]]
    facts: dict[str, tuple[Rule, ...]]
    groups: dict[str, tuple[str, ...]]
    derived: dict[str, tuple[str, ...]]
    raw: dict[str, Raw]

    def copy(self) -> Index:
        """An index that can be changed."""
        return Index(*[dict(getattr(self, name)) for name in self.__slots__])

    def add(self, statement: Statement) -> None:
        """Take in a statement, with the predicates it names."""
        for name, arity in named(statement):
            self.arities.setdefault(name, arity)
        if isinstance(statement, Rule):
            if statement.is_fact:
                _append(self.facts, statement.head.predicate, statement)
            for name in dict.fromkeys(atom.predicate for atom in atoms(statement.body)):
                _append(self.users, name, statement)
        elif isinstance(statement, Derivation):
            self.derived = derived_types([statement], self.derived)


def _append(lists: dict[str, tuple[Rule, ...]], name: str, rule: Rule) -> None:
    lists[name] = (*lists.get(name, ()), rule)


def index_of(statements: Iterable[Statement], strata: Iterable[Sequence[str]], raw: Mapping[str, Raw]) -> Index:
    """The index of a program."""
    groups = {name: tuple(sorted(group)) for group in strata for name in group}
    index = Index({}, {}, {}, groups, {}, dict(raw))
    users: dict[str, list[Rule]] = {}
    facts: dict[str, list[Rule]] = {}
    for statement in statements:
        for name, arity in named(statement):
            index.arities.setdefault(name, arity)
        if isinstance(statement, Rule):
            if statement.is_fact:
                facts.setdefault(statement.head.predicate, []).append(statement)
            for name in dict.fromkeys(atom.predicate for atom in atoms(statement.body)):
                users.setdefault(name, []).append(statement)
    index.users = {name: tuple(rules) for name, rules in users.items()}
    index.facts = {name: tuple(rules) for name, rules in facts.items()}
    index.derived = derived_types([one for one in statements if isinstance(one, Derivation)])
    return index


def named(statement: Statement) -> Iterator[tuple[str, int]]:
    """The predicates that a statement names, with their number of arguments."""
    if isinstance(statement, Declaration):
        yield statement.predicate, len(statement.types)
    elif isinstance(statement, Derivation):
        yield statement.predicate, len(statement.paths)
    else:
        for atom in (statement.head, *atoms(statement.body)):
            yield atom.predicate, len(atom.args)


def needs_of(rules: Iterable[Rule]) -> Iterator[tuple[str, str, Position]]:
    """Yield what rules depend on: (predicate, "" or through what it may not depend on itself, where)."""
    for rule in rules:
        aggregated = next((arg for arg in rule.head.args if isinstance(arg, Aggregate)), None)
        for literal in rule.body:
            if isinstance(literal, Not):
                yield literal.atom.predicate, "negation", literal.at
            elif isinstance(literal, Atom):
                at = aggregated.at if aggregated else literal.at
                yield literal.predicate, "an aggregate" if aggregated else "", at


class Growth:
    """A program in the making.

    Args:
        program: a copy of the program that is right, with the statements added already, and its own index.
        kinds: of the facts elsewhere.
        check: called for each rule and predicate that is looked at; what it raises ends the work.
    """

    def __init__(self, program: Program, index: Index, kinds: Kinds, check: Check) -> None:
        self.program = program
        self.index = index
        self.kinds = kinds
        self.check = check

    def take(self, added: Sequence[Statement]) -> bool:
        """Check what the statements change; whether all of it is seen to be right."""
        for statement in added:
            self.index.add(statement)
            if any(self.index.arities[name] != arity for name, arity in named(statement)):
                return False
        rules = [one for one in added if isinstance(one, Rule) and not one.is_fact]
        return all(map(self.is_stratified, rules)) and self.fits_types(added)

    # --- strata

    def is_stratified(self, rule: Rule) -> bool:
        """Return True if the rule leads to no way from a predicate to its own negation or aggregate."""
        head = rule.head.predicate
        groups = self.index.groups
        group = groups.setdefault(head, (head,))
        own = set(group)
        outside = {name for name, _, _ in needs_of([rule]) if name not in own}
        if any(self.leads_to(name, head) for name in outside):
            own = self.reach(head, self.needs) & self.reach(head, self.used_by)
            group = tuple(sorted(own))
            groups.update(dict.fromkeys(group, group))
            changed = [one for name in group for one in self.program.by_head[name]]
        else:
            changed = [rule]
        for one in changed:
            self.check()
            if any(through and name in own for name, through, _ in needs_of([one])):
                return False
        return True

    def leads_to(self, start: str, goal: str) -> bool:
        """Return True if a predicate needs another in some steps; looks from both ends, a condition each in turns."""
        ways = (self.walk(start, self.needs), self.walk(goal, self.used_by))
        seen: tuple[set[str], set[str]] = ({start}, {goal})
        while True:
            for way, mine, others in zip(ways, seen, seen[::-1], strict=True):
                name = next(way, None)
                if name is None:
                    return False
                if name in others:
                    return True
                mine.add(name)

    def reach(self, start: str, after: Callable[[str], Iterator[str]]) -> set[str]:
        """The start and all that it leads to."""
        return {start, *self.walk(start, after)}

    def walk(self, start: str, after: Callable[[str], Iterator[str]]) -> Iterator[str]:
        """Yield what the start leads to, as it is come by: some come several times."""
        seen = {start}
        waiting = [start]
        while waiting:
            for name in after(waiting.pop()):
                yield name
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)

    def needs(self, name: str) -> Iterator[str]:
        for rule in self.program.by_head.get(name, ()):
            self.check()
            for atom in atoms(rule.body):
                yield atom.predicate

    def used_by(self, name: str) -> Iterator[str]:
        for rule in self.index.users.get(name, ()):
            self.check()
            yield rule.head.predicate

    # --- types

    def fits_types(self, added: Sequence[Statement]) -> bool:
        """Infer the types that change, and check the rules that use them and the new ones."""
        rules = [one for one in added if isinstance(one, Rule)]
        to_check = dict.fromkeys(rules)
        for name in self.changed_types(added):
            users = self.index.users.get(name, ())
            to_check.update(
                dict.fromkeys((*users, *self.program.by_head.get(name, ()), *self.index.facts.get(name, ())))
            )
        types = Types(self.program.types)
        for rule in to_check:
            self.check()
            try:
                types.check(rule)
            except LogicError:
                return False
        return True

    def changed_types(self, added: Sequence[Statement]) -> set[str]:
        """Infer anew what the statements are about, and what uses it as far as types change; what has another type."""
        changed: set[str] = set()
        told = [one.head.predicate if isinstance(one, Rule) else one.predicate for one in added]
        waiting = [other for name in dict.fromkeys(told) for other in self.infer_added(name, added)]
        while waiting:
            name = waiting.pop()
            changed.add(name)
            users = self.index.users.get(name, ())
            for group in dict.fromkeys(self.index.groups[rule.head.predicate] for rule in users):
                if name not in group:
                    waiting += self.infer(group)
        return changed

    def infer_added(self, name: str, added: Sequence[Statement]) -> list[str]:
        """Infer the types of a predicate that statements were added to; those that have others now."""
        program, index = self.program, self.index
        group, raw = index.groups.get(name, (name,)), index.raw.get(name)
        told = [one for one in added if not isinstance(one, Rule) and one.predicate == name]
        if told or len(group) > 1 or raw is None:
            return self.infer(group)
        types, before = Types(program.types), program.types.get(name)
        for rule in added:
            if isinstance(rule, Rule) and rule.head.predicate == name and not rule.is_fact:
                self.check()
                raw = tuple(map(joined, raw, types.raw_of_rules(name, [rule], None)))
        index.raw[name] = raw
        if name not in program.declarations:
            program.types[name] = held(raw, self.all_kinds(name))
        return [name] if before != program.types.get(name) else []

    def infer(self, group: Sequence[str]) -> list[str]:
        """Infer the types of predicates that need each other as if they had none; those that have others now."""
        program, index = self.program, self.index
        before = {name: program.types.pop(name, None) for name in group}
        program.types.update({name: told.types for name in group if (told := program.declarations.get(name))})
        declared = frozenset(name for name in group if name in program.declarations)
        derived = {name: index.derived[name] for name in group if name in index.derived}
        types = Types(program.types, index.raw)
        types.take_derived(derived, declared, self.all_kinds)
        types.infer_group(group, declared, program.by_head, derived, self.all_kinds, self.check)
        return [name for name in group if before[name] != program.types.get(name)]

    def all_kinds(self, name: str) -> Sequence[str]:
        """Return what facts elsewhere and those of the program's text have as arguments."""
        return joined_kinds(self.program.own_kinds.get(name, ()), self.kinds(name))
