"""Commands on facts and rules: assert, retract, facts, rule, rules, drop-rule, query, why, explain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dagbox
from dagbox.notation.datalog import Fact, first_variable, write_fact, write_term
from dagbox.shell.grammar.parsed import Query
from dagbox.shell.problems import CommandFailed
from dagbox.shell.render.text import Line
from dagbox.shell.render.tree import Branch, draw
from dagbox.shell.results import Detail, Outcome, Rows, Text
from dagbox.shell.session import Pending, Shell
from dagbox.text.amounts import plural
from dagbox.text.limits import first_of
from dagbox.text.terminal import printable


def assert_facts(shell: Shell, facts: list[Fact]) -> Outcome:
    """Add facts, together."""
    return _change(
        shell, facts, "assert", lambda batch, fact: batch.assert_fact(fact[0], *fact[1]), "added", "there already"
    )


def retract_facts(shell: Shell, facts: list[Fact]) -> Outcome:
    """Remove facts, together."""
    return _change(
        shell, facts, "retract", lambda batch, fact: batch.retract_fact(fact[0], *fact[1]), "removed", "not there"
    )


def _change(
    shell: Shell, facts: list[Fact], verb: str, apply: Callable[[Any, Fact], Any], done: str, idle: str
) -> Outcome:
    if shell.batch is not None:
        for fact in facts:
            shell.collect(Pending(f"{verb} {write_fact(*fact)}", _later(apply, fact)))
        text = ", ".join(write_fact(*fact) for fact in facts)
        return Outcome(
            f"in the batch ({len(shell.batch)}): {verb} {text}", {"batched": text, "position": len(shell.batch)}
        )
    with shell.db.batch() as batch:
        futures = [apply(batch, fact) for fact in facts]
    changed = sum(1 for future in futures if future.result())
    same = len(facts) - changed
    text = f"{plural(changed, 'fact')} {done}" + (f", {same} {idle}" if same else "")
    return Outcome(text, {done: changed, idle.replace(" ", "_"): same})


def _later(apply: Callable[[Any, Fact], Any], fact: Fact) -> Callable[[Any], Any]:
    return lambda batch: apply(batch, fact)


def list_facts(shell: Shell, predicate: str | None, limit: int | None) -> Rows:
    """The facts of a predicate, or all."""
    facts = shell.db.facts(predicate, limit=None if limit is None else limit + 1)
    result = Rows(("fact",), [], "fact", raw="fact")
    result.rows = (
        {"fact": write_fact(fact.predicate, fact.args), "predicate": fact.predicate, "args": list(fact.args)}
        for fact in first_of(facts, limit, result.notes.append)
    )
    return result


def add_rule(shell: Shell, text: str) -> Outcome:
    """Add a rule."""
    collected = shell.collect(Pending(f"rule {text}", lambda batch: batch.add_rule(text)))
    if collected is not None:
        return collected
    rule_id = shell.db.add_rule(text)
    return Outcome(f"rule {rule_id} added", {"id": rule_id, "text": text})


def list_rules(shell: Shell) -> Rows:
    """The stored rules."""
    rows = [{"id": rule.id, "rule": rule.text} for rule in shell.db.rules()]
    return Rows(("id", "rule"), rows, "rule", raw="rule")


def drop_rule(shell: Shell, rule_id: str) -> Outcome:
    """Remove a rule."""
    pending = Pending(f"drop-rule {rule_id}", lambda batch: batch.drop_rule(rule_id), destroys=True)
    collected = shell.collect(pending)
    if collected is not None:
        return collected
    if not shell.db.drop_rule(rule_id):
        raise CommandFailed(f"no rule {rule_id}: `rules` lists them")
    return Outcome(f"rule {rule_id} removed", {"id": rule_id, "dropped": True})


def danger_of_drop(shell: Shell, rule_id: str) -> str | None:
    """Return which rule would be removed."""
    if shell.batch is not None:
        return None
    text = next((rule.text for rule in shell.db.rules() if rule.id == rule_id), None)
    return None if text is None else f"remove the rule {' '.join(text.split())}"


def query(shell: Shell, query: Query, limit: int | None, order: str | None, timeout: float | None) -> Rows | Outcome:
    """The rows of a query, with records where they were asked for."""
    unreadable: list[dagbox.UnreadableRecord] = []
    rows = shell.db.query(
        query.text,
        fetch=query.fetch or None,
        limit=None if limit is None else limit + 1,
        timeout=timeout,
        order="any" if order == "any" else order.split(",") if order else None,
        skip=unreadable.append,
    )
    if first_variable(query.text) is None:
        return Outcome("yes" if rows else "no", {"holds": bool(rows)})
    columns = tuple(dict.fromkeys(name for row in rows[:100] for name in row))
    result = Rows(columns, [], "row", raw=columns[0] if len(columns) == 1 else "", tree=bool(query.fetch), data=True)
    result.rows = first_of(rows, limit, result.notes.append)
    result.unreadable = unreadable
    return result


def why(shell: Shell, goal: str) -> Text:
    """The proof of an answer, or, for what does not hold, the first condition that failed in each rule."""
    proof = shell.db.why(goal)
    return Text(draw(_proof(proof) if "text" in proof else _refutation(proof)), proof)


def _proof(proof: Mapping[str, Any]) -> Branch:
    """Return what holds, and what it follows from."""
    label: Line = [("predicate", printable(str(proof.get("text"))))]
    rule, kind = proof.get("rule"), proof.get("kind")
    label.append(("note", f"  by {printable(str(rule))}" if rule else f"  {printable(str(kind))}"))
    children = proof.get("children") or []
    return Branch(label, lambda: [_proof(child) for child in children])


def _refutation(proof: Mapping[str, Any]) -> Branch:
    """Return what does not hold, and the condition that failed in each rule."""
    label: Line = [("predicate", printable(str(proof.get("goal")))), ("missing", "  does not hold")]
    return Branch(label, lambda: [_reason(reason) for reason in proof.get("reasons") or []])


def _reason(reason: Mapping[str, Any]) -> Branch:
    known = ", ".join(f"{name} = {write_term(value)}" for name, value in (reason.get("bindings") or {}).items())
    label: Line = [("missing", f"{printable(str(reason.get('condition')))} failed")]
    if reason.get("rule"):
        label.append(("note", f"  in {printable(str(reason['rule']))}"))
    return Branch(label, (lambda: [Branch([("note", f"with {printable(known)}")])]) if known else None)


def queries(shell: Shell) -> Rows:
    """The queries that run now."""
    rows = [dict(each) for each in shell.db.queries()]
    columns = tuple(dict.fromkeys(name for row in rows for name in row)) or ("id",)
    return Rows(columns, rows, "query", raw="id")


def stop_query(shell: Shell, query_id: str) -> Outcome:
    """End a query that runs."""
    if not shell.db.stop_query(query_id):
        raise CommandFailed(f"no query {query_id} runs: `queries` lists them")
    return Outcome(f"query {query_id} is stopped", {"stopped": query_id})


def explain(shell: Shell, goal: str) -> Detail:
    """Return how a query would be done."""
    return Detail(goal, shell.db.explain(goal))
