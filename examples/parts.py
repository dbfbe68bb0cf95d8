"""A recursive query: which parts does a product need, how many, and why.

python examples/parts.py [DIRECTORY]
"""

from __future__ import annotations

import sys

import dagbox

RULES = """
    needs(Whole, Part) :- has(Whole, Part, _).
    needs(Whole, Part) :- has(Whole, Between, _), needs(Between, Part).
    basic(Part) :- has(_, Part, _), not composed(Part).
    composed(Whole) :- has(Whole, _, _).
    parts(Whole, count(Part)) :- needs(Whole, Part), basic(Part).
"""


def main(directory: str) -> None:
    with dagbox.open(directory) as db:
        for rule in RULES.strip().splitlines():
            db.add_rule(rule.strip())
        with db.batch() as batch:
            for whole, part, number in (
                ("bicycle", "wheel", 2),
                ("bicycle", "frame", 1),
                ("wheel", "spoke", 32),
                ("wheel", "rim", 1),
                ("frame", "tube", 8),
            ):
                batch.assert_fact("has", whole, part, number)
        print("needs:", [row["X"] for row in db.query("needs(bicycle, X)")])
        print("basic parts:", db.query("parts(bicycle, N)"))
        proof = db.why("needs(bicycle, spoke)")
        print("because:", [step.text for step in proof.children])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "data")
