"""Random programs and facts that are safe and stratified, drawn by a function that chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Choose = Callable[[int], int]
"""A number from 0 up to, not including, its argument."""

STORED = {"e": 2, "f": 2, "g": 1, "h": 3, "z": 0}
VARIABLES = ["X", "Y", "Z", "W"]
FUNCTIONS = ["count", "sum", "min", "max"]


class Maker:
    """Makes one program.

    Args:
        choose: where chance comes from.
    """

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.arity = dict(STORED)

    def pick(self, things: list[Any]) -> Any:
        return things[self.choose(len(things))]

    def chance(self, percent: int) -> bool:
        return self.choose(100) < percent

    def facts(self) -> dict[str, set[tuple[int, ...]]]:
        made: dict[str, set[tuple[int, ...]]] = {}
        for name, arity in STORED.items():
            most = self.choose(9)
            rows = {tuple(self.choose(5) for _ in range(arity)) for _ in range(most)}
            if rows:
                made[name] = rows
        return made

    def program(self) -> str:
        rules: list[str] = []
        below = list(STORED)
        for layer in range(1 + self.choose(3)):
            names = [f"p{layer}{i}" for i in range(1 + self.choose(2))]
            for name in names:
                self.arity[name] = self.choose(4) if self.chance(30) else 2
            for name in names:
                rules += self.rules(name, names, below)
            below += names
        return "\n".join(rules)

    def rules(self, name: str, same: list[str], below: list[str]) -> list[str]:
        made = []
        if self.chance(45) and self.arity[name] == 2:
            made += self.walk(name, below)
        for _ in range(self.choose(2) + (not made)):
            if self.chance(20) and self.arity[name] >= 1:
                made.append(self.aggregate(name, below))
            else:
                made.append(self.rule(name, same, below))
        if self.chance(20):
            made.append(f"{name}{self.row([str(self.choose(5)) for _ in range(self.arity[name])])}.")
        return made

    def walk(self, name: str, below: list[str]) -> list[str]:
        binary = [p for p in below if self.arity[p] == 2]
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

    def body(self, positive: list[str], negative: list[str]) -> tuple[list[str], list[str]]:
        """Conditions, and the variables they bind."""
        conditions, bound = [], []
        for _ in range(1 + self.choose(3)):
            name = self.pick(positive)
            args = []
            for _ in range(self.arity[name]):
                kind = self.choose(10)
                if kind == 0:
                    args.append("_")
                elif kind == 1:
                    args.append(str(self.choose(5)))
                else:
                    args.append(self.pick(VARIABLES))
                    bound.append(args[-1])
            conditions.append(name + self.row(args))
        bound = list(dict.fromkeys(bound))
        if bound and self.chance(30):
            conditions.append(f"{self.pick(bound)} {self.pick(['=', '!=', '<', '<=', '>', '>='])} {self.term(bound)}")
        if bound and self.chance(20):
            conditions.append(f"V = ({self.pick(bound)} + {self.choose(4)}) mod 5")
            bound.append("V")
        if self.chance(35):
            name = self.pick(negative)
            args = ["_" if self.chance(20) else self.term(bound) for _ in range(self.arity[name])]
            conditions.append(f"not {name}{self.row(args)}")
        for place in range(len(conditions) - 1, 0, -1):
            other = self.choose(place + 1)
            conditions[place], conditions[other] = conditions[other], conditions[place]
        return conditions, bound

    def term(self, bound: list[str]) -> str:
        if not bound or self.chance(20):
            return str(self.choose(5))
        name: str = self.pick(bound)
        return name

    def rule(self, name: str, same: list[str], below: list[str]) -> str:
        conditions, bound = self.body(below + same if self.chance(60) else below, below)
        args = []
        for _ in range(self.arity[name]):
            term = self.term(bound)
            args.append(f"({term} * 2 + 1) mod 5" if self.chance(10) else term)
        return f"{name}{self.row(args)} :- {', '.join(conditions)}."

    def aggregate(self, name: str, below: list[str]) -> str:
        conditions, bound = self.body(below, below)
        place = self.choose(self.arity[name])
        args = [self.term(bound) for _ in range(self.arity[name])]
        distinct = "distinct " if self.chance(30) else ""
        args[place] = f"{self.pick(FUNCTIONS)}({distinct}{self.term(bound)})"
        return f"{name}{self.row(args)} :- {', '.join(conditions)}."

    def goals(self, program_arity: dict[str, int]) -> list[str]:
        made = []
        for name, arity in program_arity.items():
            made.append(name + self.row(VARIABLES[:arity]))
            for _ in range(3):
                args = [self.pick([*VARIABLES, "_", *map(str, range(5)), *map(str, range(5))]) for _ in range(arity)]
                made.append(name + self.row(args))
        conditions, _ = self.body(list(program_arity), list(program_arity))
        made.append(", ".join(conditions))
        return made
