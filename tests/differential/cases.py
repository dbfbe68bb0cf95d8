"""Random cases with some mistakes among them, and making a case that fails smaller."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from dagbox.datalog.language.parser import parse_rule
from dagbox.datalog.language.terms import Rule
from dagbox.protocol.booleans import plain
from tests.datalog.programs import Maker

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """A program, facts and goals."""

    seed: int
    rules: tuple[str, ...]
    facts: tuple[tuple[str, Row], ...]
    goals: tuple[str, ...]

    def __str__(self) -> str:
        facts = "\n".join(f"{name}{tuple(map(plain, row))!r}" for name, row in self.facts)
        rules, goals = "\n".join(self.rules), "\n".join(self.goals)
        return f"seed {self.seed}\n--- rules\n{rules}\n--- facts\n{facts}\n--- goals\n{goals}"


def make(seed: int) -> Case:
    """The case of a seed. Some have a rule or goal that is wrong."""
    chance = random.Random(seed)
    maker = Maker(chance.randrange)
    rows = maker.facts()
    rules = maker.program().splitlines()
    goals = maker.goals()
    if chance.random() < 0.15:
        place = chance.randrange(len(rules))
        rules[place] = _spoiled(rules[place], chance)
    if chance.random() < 0.15:
        place = chance.randrange(len(goals))
        goals[place] = _spoiled(goals[place], chance)
    facts = [(name, row) for name, some in rows.items() for row in sorted(some, key=repr)]
    chance.shuffle(rules)
    chance.shuffle(facts)
    return Case(seed, tuple(rules), tuple(facts), tuple(goals))


def _spoiled(text: str, chance: random.Random) -> str:
    """The rule or goal with a change that may make it wrong."""
    head = text.partition(" :-")[0]
    ways: list[Callable[[], str]] = [
        lambda: re.sub(r"\bX\b(?!\")", "Q", text, count=1),
        lambda: text.replace("(X", "(Q", 1),
        lambda: text.replace("e(", "not e(", 1).replace("not not", "not"),
        lambda: text.replace("p00(", "e(", 1),
        lambda: text.replace(":- ", f":- not {head}, ") if head.count("(") < 2 else text,
        lambda: text.replace("e(", "nowhere("),
        lambda: text.replace("(X, ", "(", 1),
    ]
    return chance.choice(ways)()


def smaller(case: Case) -> Iterator[Case]:
    """Yield cases that have less: half of something, one of something, or a rule without a condition."""
    for what in ("goals", "rules", "facts"):
        things = getattr(case, what)
        size = len(things) // 2
        while size:
            for start in range(0, len(things), size):
                yield replace(case, **{what: things[:start] + things[start + size :]})
            size //= 2
    for place, text in enumerate(case.rules):
        for shorter in _shorter(text):
            yield replace(case, rules=(*case.rules[:place], shorter, *case.rules[place + 1 :]))


def _shorter(text: str) -> Iterator[str]:
    rule = parse_rule(text)
    assert isinstance(rule, Rule)
    if len(rule.body) > 1:
        for place in range(len(rule.body)):
            yield str(replace(rule, body=rule.body[:place] + rule.body[place + 1 :]))


def smallest(case: Case, fails: Callable[[Case], bool], tries: int = 400) -> Case:
    """The case made smaller as long as it fails."""
    progress = True
    while progress and tries > 0:
        progress = False
        for other in smaller(case):
            tries -= 1
            if fails(other):
                case, progress = other, True
                break
            if tries <= 0:
                break
    return case
