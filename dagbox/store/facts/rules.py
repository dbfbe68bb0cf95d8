"""Rules in the store: kept as text, checked as a whole program inside the transaction that changes them.

Rules of this file:

1. The check runs at the end of the batch, over all rules and declarations there are then and all facts that were
   asserted, in the transaction: what another process commits cannot come between. Where the batch adds rules only, and
   this process has checked those there were, it looks only at what the new ones can change. It ends after `MOST_STEPS`.
2. The id of a rule follows from what it says, so adding a rule that is there changes nothing and gives the same id.
3. A declaration that derives facts is built for the records that are there in the commit that adds it: when
   `add_rule` returns, all its facts are there. Dropping one hides its facts at once; their rows are swept later.

The language is imported when the first rule comes: a program without rules does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from dagbox.errors import LimitExceeded, TypeMismatch
from dagbox.store.envelope import open_damaged
from dagbox.store.facts.changes import FactChanges
from dagbox.store.facts.derive import Derived, derived_rows, read_derivations, unpacked
from dagbox.store.facts.layout import TYPES, Space, pack_value, parsed_entry, type_index
from dagbox.store.facts.over import records_over
from dagbox.store.facts.schema import (
    DERIVATIONS,
    RULE,
    RULE_ROWS,
    SchemaVersion,
    Signature,
    drop_signatures,
    needed_type,
    write_signatures,
)
from dagbox.store.foreign import shown_key, text_or_none
from dagbox.store.tables import META, RULES, Scanned

if TYPE_CHECKING:
    from dagbox.datalog.language.program import Program
    from dagbox.datalog.language.terms import Statement


class StoredRule(NamedTuple):
    """A rule as it is kept: id, text, and its place in the order they were added."""

    id: str
    text: str
    number: int


def stored_rules(tables: Scanned, check: Callable[[], None] | None = None) -> list[StoredRule]:
    """The rules and declarations, in the order they were added.

    Args:
        check: called for each; what it raises ends the reading.
    """
    found = []
    for key, data in tables.scan(*RULE_ROWS):
        if check is not None:
            check()
        found.append(_stored(key, *parsed_entry(RULES, data, lambda wire: (int(wire[0]), str(wire[1])))))
    return sorted(found, key=lambda rule: rule.number)


def _stored(key: bytes, number: int, text: str) -> StoredRule:
    return StoredRule(shown_key(key[1:]), text, number)


def parse_stored(rules: Iterable[StoredRule], check: Callable[[], None] | None = None) -> list[Statement]:
    """The rules parsed; each text is parsed once in a process.

    Args:
        check: called now and then; what it raises ends the parsing.
    """
    return [_statement(rule.text, check) for rule in rules]


MOST_STEPS = 1_000_000
"""The most steps of parsing and checking the rules of one batch: rules looked at, and times that a type is inferred."""
_MOST_PROGRAMS = 8
_parsed: dict[str, Statement] = {}
_MOST_PARSED = 10_000


def _statement(text: str, check: Callable[[], None] | None = None) -> Statement:
    from dagbox.datalog.language.parser import no_check, parse_rule

    statement = _parsed.get(text)
    if statement is None:
        look = check or no_check
        look()
        statement = parse_rule(text, look)
        if len(_parsed) >= _MOST_PARSED:
            _parsed.clear()
        _parsed[text] = statement
    return statement


class _Steps:
    """The budget of a check of rules."""

    def __init__(self) -> None:
        self.taken = 0

    def __call__(self) -> None:
        self.taken += 1
        if self.taken > MOST_STEPS:
            raise LimitExceeded("steps of the check of rules", self.taken, MOST_STEPS)


class RuleChanges:
    """The rules of one transaction: added and dropped at once, checked when the batch ends."""

    def __init__(self, tx: Any, facts: FactChanges) -> None:
        self._tx = tx
        self._facts = facts
        self._added: list[Statement] = []
        self._dropped = False
        self._steps = _Steps()

    def add(self, text: str) -> str:
        """Add a rule; its id. Raises RuleSyntax."""
        statement = _statement(text, self._steps)
        rule_id = blake2b(str(statement).encode(), digest_size=6).hexdigest()
        key = RULE + rule_id.encode()
        if self._tx.get(RULES, key) is None:
            self._tx.set(RULES, key, pack_value([self._facts.schema.new_rule(), text.strip()]), None)
            self._facts.rules_change = True
            self._added.append(statement)
        return rule_id

    def drop(self, rule_id: str) -> bool:
        """Remove a rule; whether there was one."""
        key = RULE + rule_id.encode(errors="surrogatepass")
        data = self._tx.get(RULES, key) if len(key) <= 100 else None
        if data is None:
            return False
        self._tx.set(RULES, key, None, data)
        self._facts.rules_change = self._dropped = True
        return True

    def finish(self) -> None:
        """Check the program that the batch leaves, and do what its declarations ask for.

        Raises:
            LogicError: the program is wrong, or the facts there are do not fit it.
            LimitExceeded: the check takes too long.
        """
        if self._facts.rules_change:
            program = self._grown() or self._whole()
            revision = self._tx.new_key()
            self._facts.schema.rules_changed(revision)
            self._facts.flush()
            _keep(revision, program)
        self._facts.rules_change = self._dropped = False
        self._facts.unchecked.clear()
        self._added, self._steps = [], _Steps()

    def _grown(self) -> Program | None:
        """The program, checked at the cost of what the batch adds; None: it has to be checked as a whole."""
        known = _known(self._facts.schema.rules)
        program = None if known is None or self._dropped else known.grown(self._added, self._facts.kinds, self._steps)
        if program is None or not self._fits_arities(program):
            return None
        told = _signatures(program, self._added)
        new = {
            name: each for name, each in told.items() if each.types is not None or self._facts.signature(name) is None
        }
        self._write(program, self._added, new)
        return program

    def _whole(self) -> Program:
        """The program, checked as a whole. Raises LogicError."""
        from dagbox.datalog.language.program import Program

        statements = parse_stored(stored_rules(self._tx, self._steps), self._steps)
        program = Program(statements, self._facts.arities(), self._facts.kinds, self._steps)
        signatures = _signatures(program, statements)
        self._write(program, statements, signatures)
        drop_signatures(self._tx, signatures.keys())
        self._facts.forget_signatures()
        return program

    def _fits_arities(self, program: Program) -> bool:
        """Return True if facts of what the batch names have as many arguments as the program says."""
        named = {name for statement in self._added for name in _predicates(statement)}
        return all(
            space.arity == program.arities.get(name, space.arity)
            for name in named | self._facts.unchecked
            for space in self._facts.spaces_of(name)
            if not space.source and space.count
        )

    def _write(self, program: Program, changed: Sequence[Statement], signatures: Mapping[str, Signature]) -> None:
        """Write what the rules ask of facts, and do what declarations ask for.

        Args:
            changed: the statements that were added, or all.
            signatures: of the predicates that they name.
        """
        self._check_types(program, {*signatures, *self._facts.unchecked})
        retyped = {name for name in signatures if self._types_of(name) != signatures[name].types}
        write_signatures(self._tx, signatures)
        self._facts.forget_signatures()
        derives = any(map(_is_derivation, changed))
        if self._dropped or derives or retyped.intersection(one.predicate for one in program.derivations):
            self._follow(stored_rules(self._tx), retyped)

    def _check_types(self, program: Program, names: Iterable[str]) -> None:
        """Refuse declarations that facts which are there do not fit."""
        for declared in filter(None, map(program.declarations.get, sorted(names))):
            name = declared.predicate
            for space in self._facts.spaces_of(name):
                for place, kind in enumerate(declared.types):
                    wrong = self._of_other_types(space, place, needed_type(kind))
                    if wrong:
                        other = next(iter(wrong))
                        what = f"that of {sum(wrong.values())} of the facts there are"
                        raise TypeMismatch(what, name, place + 1, kind, other, str(declared), declared.at)

    def _of_other_types(self, space: Space, place: int, wanted: str | None) -> dict[str, int]:
        """Type -> how many facts have another one than the wanted at a place; those of records that are over not."""
        if wanted is None:
            return {}
        held = dict(zip(TYPES, space.held[place], strict=True))
        held[wanted] = 0
        over = (
            records_over(self._tx, self._tx.now_ms).get(space.source) if space.source and any(held.values()) else None
        )
        for row in over.rows(self._tx) if over is not None else ():
            held[TYPES[type_index(row[place])]] -= 1
        return {kind: count for kind, count in held.items() if count > 0}

    def _types_of(self, predicate: str) -> tuple[str, ...] | None:
        signature = self._facts.signature(predicate)
        return None if signature is None else signature.types

    def _follow(self, rules: list[StoredRule], retyped: set[str]) -> None:
        """Drop the spaces of declarations that are gone; build those of new ones, and of retyped predicates anew."""
        from dagbox.datalog.language.terms import Derivation

        wanted: dict[str, list[Derived]] = {}
        for rule, statement in zip(rules, parse_stored(rules), strict=True):
            if isinstance(statement, Derivation):
                wanted.setdefault(statement.bucket, []).append(Derived(statement.predicate, rule.id, statement.paths))
        old = read_derivations(self._tx.get)
        if not wanted and not old:
            return
        before = {derived for declared in old.values() for derived in declared}
        after = {derived for declared in wanted.values() for derived in declared}
        kept = {derived for derived in before & after if derived.predicate not in retyped}
        for derived in before - kept:
            self._facts.drop(derived.predicate, derived.source)
        for bucket, declared in wanted.items():
            self._build(bucket, [derived for derived in declared if derived not in kept])
        data = pack_value(wanted) if wanted else None
        self._tx.set(META, DERIVATIONS, data, self._tx.get(META, DERIVATIONS))
        self._tx.derivations = read_derivations(self._tx.get)

    def _build(self, bucket: str, declared: list[Derived]) -> None:
        """Derive the facts of the records that are there."""
        if not declared:
            return
        for derived in declared:
            self._facts.create(derived.predicate, derived.source, len(derived.paths), derived.hidden)
        for key, value in self._tx.scan(bucket):
            # Records whose time is over too: their facts go with them when they are swept.
            text = text_or_none(key)
            if text is None:
                continue
            data = unpacked(open_damaged(value).data)
            for derived in declared:
                rows = self._facts.fitting(derived, derived_rows(derived, text, data))
                self._facts.change_derived(derived, set(), rows)


def _signatures(program: Program, statements: Iterable[Statement]) -> dict[str, Signature]:
    """Return what the statements of a program say of each predicate that they name."""
    told: dict[str, Signature] = {}
    for statement in statements:
        for name in _predicates(statement):
            declared = program.declarations.get(name)
            text = str(declared or statement)[:200]
            told.setdefault(name, Signature(program.arities[name], declared.types if declared else None, text))
    return told


def _predicates(statement: Statement) -> list[str]:
    from dagbox.datalog.language.growth import named

    return [name for name, _ in named(statement)]


def _is_derivation(statement: Statement) -> bool:
    from dagbox.datalog.language.terms import Derivation

    return isinstance(statement, Derivation)


_programs: dict[str, Program] = {}
"""Revision -> the program that was checked for it, in this process, whether or not it was committed."""


def _known(mark: SchemaVersion) -> Program | None:
    """The checked program of a mark; None if this process has not checked it."""
    from dagbox.datalog.language.program import Program

    return _programs.get(mark.revision) if mark.rules else Program()


def _keep(revision: str, program: Program) -> None:
    _programs[revision] = program
    for old in list(_programs)[:-_MOST_PROGRAMS]:
        _programs.pop(old, None)
