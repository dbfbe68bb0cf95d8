"""Random programs and facts that are safe and stratified, drawn by a function that chooses.

An argument is a small number, which programs compute with, or anything at all, which they only compare: the two never
meet, so that no arithmetic lacks a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dagbox.datalog.language.terms import constant, show_value

Choose = Callable[[int], int]
"""A number from 0 up to, not including, its argument."""

NUMBER, ANYTHING = "n", "a"
STORED = {"e": "nn", "f": "nn", "g": "n", "h": "nnn", "z": "", "t": "na", "u": "a", "v": "aa", "w": "aaaan"}
"""Predicate -> what each argument is."""
VARIABLES = {NUMBER: ["X", "Y", "Z", "W"], ANYTHING: ["A", "B", "C"]}
LONG = "a text that does not stand in a key as it is, " * 2
POOL: list[Any] = [False, True, -(2**63), -1e300, -0.5, 1e15 + 0.5, 2**63 - 1]
POOL += ["", "1", "X", "a b", 'q"\\\n', LONG, LONG + "2", "\U0001f40d"]
"""Constants that programs only compare."""
FUNCTIONS = ["count", "sum", "min", "max"]


class Maker:
    """Makes one program.

    Args:
        choose: where chance comes from.
    """

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.kinds = dict(STORED)

    def pick(self, things: list[Any]) -> Any:
        return things[self.choose(len(things))]

    def chance(self, percent: int) -> bool:
        return self.choose(100) < percent

    def facts(self) -> dict[str, set[tuple[Any, ...]]]:
        made: dict[str, set[tuple[Any, ...]]] = {}
        for name, kinds in STORED.items():
            # By what is written: to a set of Python's, True is 1.
            rows = {tuple(map(str, row)): row for row in (self.values(kinds) for _ in range(self.choose(9)))}
            if rows:
                made[name] = set(rows.values())
        return made

    def values(self, kinds: str) -> tuple[Any, ...]:
        return tuple(self.choose(5) if kind == NUMBER else constant(self.pick(POOL)) for kind in kinds)

    def constant(self, kind: str) -> str:
        return str(self.choose(5)) if kind == NUMBER else show_value(constant(self.pick(POOL)))

    def some_kinds(self) -> str:
        if not self.chance(45):
            return NUMBER * 2
        return "".join(ANYTHING if self.chance(35) else NUMBER for _ in range(self.choose(4)))

    def program(self) -> str:
        rules: list[str] = []
        below = list(STORED)
        for layer in range(1 + self.choose(3)):
            names = [f"p{layer}{i}" for i in range(1 + self.choose(2))]
            for name in names:
                self.kinds[name] = self.some_kinds()
            for name in names:
                rules += self.rules(name, names, below)
            below += names
        return "\n".join(rules)

    def rules(self, name: str, same: list[str], below: list[str]) -> list[str]:
        made = []
        if self.chance(45) and self.kinds[name] == NUMBER * 2:
            made += self.walk(name, below)
        for _ in range(self.choose(2) + (not made)):
            if self.chance(20) and self.kinds[name]:
                made.append(self.aggregate(name, below))
            else:
                made.append(self.rule(name, same, below))
        if self.chance(20):
            made.append(f"{name}{self.row([self.constant(kind) for kind in self.kinds[name]])}.")
        return made

    def walk(self, name: str, below: list[str]) -> list[str]:
        binary = [p for p in below if self.kinds[p] == NUMBER * 2]
        step, other = self.pick(binary), self.pick(binary)
        forms = [
            [f"{name}(X, Y) :- {step}(X, Y).", f"{name}(X, Y) :- {step}(X, Z), {name}(Z, Y)."],
            [f"{name}(X, Y) :- {step}(X, Y).", f"{name}(X, Y) :- {name}(X, Z), {step}(Z, Y)."],
            [f"{name}(X, Y) :- {step}(X, Y).", f"{name}(X, Y) :- {name}(X, Z), {name}(Z, Y)."],
            [
                f"{name}(X, Y) :- {other}(X, Y), X != 1.",
                f"{name}(X, Y) :- {step}(X, Z), {name}(Z, Y).",
                f"{name}(X, Y) :- {name}(X, Z), {other}(Z, Y), Y < 4.",
            ],
            [f"{name}(X, X) :- g(X).", f"{name}(X, Y) :- {step}(Z, X), {name}(Z, Y), not g(Z)."],
            [
                f"{name}(X, Y) :- {other}(Y, X).",
                f"{name}(X, Y) :- {name}(X, Z), Y = (Z + 1) mod 4, {step}(Y, _).",
            ],
            [f"{name}(X, Y) :- g(X), g(Y).", f"{name}(X, Y) :- {step}(Z, X), {name}(Z, W), {other}(W, Y)."],
        ]
        return list(self.pick(forms))

    def row(self, args: list[str]) -> str:
        return f"({', '.join(args)})" if args else ""

    def body(self, positive: list[str], negative: list[str]) -> tuple[list[str], dict[str, list[str]]]:
        """Conditions, and the variables they bind, by their kind."""
        conditions: list[str] = []
        bound: dict[str, list[str]] = {NUMBER: [], ANYTHING: []}
        for _ in range(1 + self.choose(3)):
            name = self.pick(positive)
            conditions.append(name + self.row([self.argument(kind, bound) for kind in self.kinds[name]]))
        bound = {kind: list(dict.fromkeys(names)) for kind, names in bound.items()}
        kind = self.pick([NUMBER, ANYTHING])
        if bound[kind] and self.chance(30):
            operator = self.pick(["=", "!=", "<", "<=", ">", ">="])
            conditions.append(f"{self.pick(bound[kind])} {operator} {self.term(kind, bound)}")
        if bound[NUMBER] and self.chance(20):
            conditions.append(f"V = ({self.pick(bound[NUMBER])} + {self.choose(4)}) mod 5")
            bound[NUMBER].append("V")
        if self.chance(35):
            name = self.pick(negative)
            args = ["_" if self.chance(20) else self.term(kind, bound) for kind in self.kinds[name]]
            conditions.append(f"not {name}{self.row(args)}")
        for place in range(len(conditions) - 1, 0, -1):
            other = self.choose(place + 1)
            conditions[place], conditions[other] = conditions[other], conditions[place]
        return conditions, bound

    def argument(self, kind: str, bound: dict[str, list[str]]) -> str:
        """An argument of a positive condition; a variable is bound by it."""
        chosen = self.choose(10)
        if chosen == 0:
            return "_"
        if chosen == 1:
            return self.constant(kind)
        name: str = self.pick(VARIABLES[kind])
        bound[kind].append(name)
        return name

    def term(self, kind: str, bound: dict[str, list[str]]) -> str:
        if not bound[kind] or self.chance(20):
            return self.constant(kind)
        name: str = self.pick(bound[kind])
        return name

    def rule(self, name: str, same: list[str], below: list[str]) -> str:
        conditions, bound = self.body(below + same if self.chance(60) else below, below)
        args = []
        for kind in self.kinds[name]:
            term = self.term(kind, bound)
            args.append(f"({term} * 2 + 1) mod 5" if kind == NUMBER and self.chance(10) else term)
        return f"{name}{self.row(args)} :- {', '.join(conditions)}."

    def aggregate(self, name: str, below: list[str]) -> str:
        conditions, bound = self.body(below, below)
        kinds = self.kinds[name]
        place = self.choose(len(kinds))
        args = [self.term(kind, bound) for kind in kinds]
        distinct = "distinct " if self.chance(30) else ""
        if kinds[place] == NUMBER:
            function = self.pick(FUNCTIONS)
            of = self.pick([NUMBER, ANYTHING]) if function == "count" else NUMBER
        else:
            function, of = self.pick(FUNCTIONS[2:]), ANYTHING
        args[place] = f"{function}({distinct}{self.term(of, bound)})"
        return f"{name}{self.row(args)} :- {', '.join(conditions)}."

    def goals(self, names: Iterable[str] | None = None) -> list[str]:
        """Goals about these predicates, or about all that there may be."""
        made = []
        asked = list(self.kinds if names is None else names)
        for name in asked:
            kinds = self.kinds[name]
            places = [kinds[:place].count(kind) for place, kind in enumerate(kinds)]
            variables = [*VARIABLES[NUMBER], *VARIABLES[ANYTHING], "D"]
            at = {NUMBER: 0, ANYTHING: len(VARIABLES[NUMBER])}
            made.append(name + self.row([variables[at[kind] + n] for kind, n in zip(kinds, places, strict=True)]))
            for _ in range(3):
                made.append(name + self.row([self.asked(kind) for kind in kinds]))
        conditions, _ = self.body(asked, asked)
        made.append(", ".join(conditions))
        return made

    def asked(self, kind: str) -> str:
        """An argument of a goal."""
        if self.chance(65):
            return self.constant(kind)
        name: str = self.pick([*VARIABLES[kind], "_"])
        return name
