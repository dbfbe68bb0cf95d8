"""Checks a proof tree: every leaf is a stored fact, every step an instance of a rule, nothing leans on itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagbox.datalog.language.parser import parse_goal
from dagbox.datalog.language.program import Program
from dagbox.datalog.language.terms import Aggregate, Atom, Compare, Not, Rule
from dagbox.datalog.proofs.why import Proof
from tests.datalog import naive


def check_proof(proof: Proof, program: Program, rows: Mapping[str, Any], known: naive.Facts) -> None:
    """Fail if the tree is no proof over these facts; `known` is the model, for what must not be there."""
    own = {(f.predicate, naive.constants(f)) for f in program.facts}
    stored = {(name, tuple(row)) for name, some in rows.items() for row in some} | own
    _Checker(program, stored, known).check(proof, ())


class _Checker:
    def __init__(self, program: Program, stored: set[Any], known: naive.Facts) -> None:
        self.rules = {str(rule): rule for rule in program.rules}
        self.stored = stored
        self.known = known
        self.proven: set[str] = set()

    def check(self, proof: Proof, above: tuple[str, ...]) -> None:
        assert proof.text not in above or proof.kind == "goal", f"{proof.text} leans on itself"
        below = (*above, proof.text)
        if proof.kind == "fact":
            atom = naive.head_of(proof.text + ".")
            assert (atom.predicate, naive.constants(atom)) in self.stored
        elif proof.kind == "above":
            assert proof.text in self.proven
        elif proof.kind in ("not", "compare"):
            (literal,) = parse_goal(proof.text)
            assert isinstance(literal, Not if proof.kind == "not" else Compare)
            assert list(naive.solutions((literal,), self.known))
        elif proof.kind == "more":
            return  # the rest is left out
        elif proof.kind == "rule":
            self.check_step(proof, self.rules[proof.rule or ""], below)
        elif proof.kind == "aggregate":
            self.check_aggregate(proof, self.rules[proof.rule or ""], below)
        else:
            assert proof.kind == "goal", proof.kind
            for child in proof.children:
                self.check(child, below)
        self.proven.add(proof.text)

    def check_step(self, proof: Proof, rule: Rule, above: tuple[str, ...]) -> None:
        head = naive.head_of(proof.text + ".")
        assert head.predicate == rule.head.predicate
        for written, given in zip(rule.head.args, naive.constants(head), strict=True):
            assert naive.value(written, dict(proof.bindings)) == given
        self.check_body(proof, rule, above)

    def check_body(self, proof: Proof, rule: Rule, above: tuple[str, ...]) -> None:
        assert len(proof.children) == len(rule.body)
        for literal, child in zip(rule.body, proof.children, strict=True):
            self.check(child, above)
            if isinstance(literal, Atom):
                atom = naive.head_of(child.text + ".")
                row = naive.constants(atom)
                assert atom.predicate == literal.predicate
                assert naive._unify(literal, row, dict(proof.bindings), "row") is not None

    def check_aggregate(self, proof: Proof, rule: Rule, above: tuple[str, ...]) -> None:
        head = naive.head_of(proof.text + ".")
        shown = [child for child in proof.children if child.kind != "more"]
        solutions = [dict(child.bindings) for child in shown]
        for child in shown:
            self.check_body(child, rule, above)
        whole = len(shown) == len(proof.children)
        for written, given in zip(rule.head.args, naive.constants(head), strict=True):
            if isinstance(written, Aggregate):
                assert not whole or naive.total(written, solutions) == given
            else:
                assert {naive.value(written, one) for one in solutions} == {given}
