"""Rules in the store: kept as text, checked as a whole program inside the transaction that changes them.

Rules of this file:

1. The check runs at the end of the batch, over all rules and declarations there are then and all facts that were
   asserted, in the transaction: what another process commits cannot come between.
2. The id of a rule follows from what it says, so adding a rule that is there changes nothing and gives the same id.
3. A declaration that derives facts is built for the records that are there in the commit that adds it: when
   `add_rule` returns, all its facts are there. Dropping one hides its facts at once; their rows are swept later.

The language is imported when the first rule comes: a program without rules does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from dagbox.errors import TypeMismatch
from dagbox.store.envelope import open_damaged
from dagbox.store.facts.changes import FactChanges
from dagbox.store.facts.derive import Derived, derived_rows, read_derivations, unpacked
from dagbox.store.facts.layout import TYPES, Space, pack_value, parsed_entry, type_index
from dagbox.store.facts.over import records_over
from dagbox.store.facts.schema import DERIVATIONS, Signature, needed_type, write_signatures
from dagbox.store.foreign import shown_key, text_or_none
from dagbox.store.tables import META, RULES, Scanned

if TYPE_CHECKING:
    from dagbox.datalog.language.program import Program
    from dagbox.datalog.language.terms import Statement

_RULE = b"r"
_AFTER_RULES = b"s"


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
    for key, data in tables.scan(RULES, _RULE, _AFTER_RULES):
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


class RuleChanges:
    """The rules of one transaction: added and dropped at once, checked when the batch ends."""

    def __init__(self, tx: Any, facts: FactChanges) -> None:
        self._tx = tx
        self._facts = facts

    def add(self, text: str) -> str:
        """Add a rule; its id. Raises RuleSyntax."""
        statement = _statement(text)
        rule_id = blake2b(str(statement).encode(), digest_size=6).hexdigest()
        key = _RULE + rule_id.encode()
        if self._tx.get(RULES, key) is None:
            number = max((rule.number for rule in stored_rules(self._tx)), default=0) + 1
            self._tx.set(RULES, key, pack_value([number, text.strip()]), None)
            self._facts.rules_change = True
        return rule_id

    def drop(self, rule_id: str) -> bool:
        """Remove a rule; whether there was one."""
        key = _RULE + rule_id.encode(errors="surrogatepass")
        data = self._tx.get(RULES, key) if len(key) <= 100 else None
        if data is None:
            return False
        self._tx.set(RULES, key, None, data)
        self._facts.rules_change = True
        return True

    def finish(self) -> None:
        """Check the program that the batch leaves, and do what its declarations ask for.

        Raises:
            LogicError: the program is wrong, or the facts there are do not fit it.
        """
        if not self._facts.rules_change:
            return
        from dagbox.datalog.language.program import Program

        rules = stored_rules(self._tx)
        program = Program(parse_stored(rules), self._facts.arities(), self._facts.kinds)
        self._check_types(program)
        signatures = _signatures(program)
        retyped = {name for name in signatures if self._types_of(name) != signatures[name].types}
        write_signatures(self._tx, signatures)
        self._facts.forget_signatures()
        self._facts.schema.rules_changed()
        self._follow(rules, retyped)
        self._facts.flush()
        self._facts.rules_change = False

    def _check_types(self, program: Program) -> None:
        """Refuse declarations that facts which are there do not fit."""
        for name, declared in program.declarations.items():
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


def _signatures(program: Program) -> dict[str, Signature]:
    """Return what the statements of a program say of each predicate that they name."""
    told: dict[str, Signature] = {}
    for statement in program.statements:
        for name in _predicates(statement):
            declared = program.declarations.get(name)
            text = str(declared or statement)[:200]
            told.setdefault(name, Signature(program.arities[name], declared.types if declared else None, text))
    return told


def _predicates(statement: Statement) -> list[str]:
    from dagbox.datalog.language.terms import Atom, Compare, Not, Rule

    if not isinstance(statement, Rule):
        return [statement.predicate]
    literals = [literal for literal in statement.body if not isinstance(literal, Compare)]
    atoms: list[Atom] = [literal.atom if isinstance(literal, Not) else literal for literal in literals]
    return [statement.head.predicate, *(atom.predicate for atom in atoms)]
