"""The table of problems, and the text about one. Knows no Textual."""

from __future__ import annotations

from dagbox.problems import BAD, RULES, Problem
from dagbox.tui.display import text
from dagbox.tui.display.columns import Column, Data, Row, plain
from dagbox.tui.display.text import Spans, Styled
from dagbox.tui.polling.model import NodeModel

KEYS = {"enter": "⏎"}
"""Keys that are shown by a sign."""
Counts = tuple[int, int]


def sign_role(sign: str) -> str:
    """Return the role of a sign; the sign itself carries the meaning."""
    return "bad" if sign == BAD else "warn"


def counts_of(model: NodeModel) -> Counts:
    """Return how many problems are to be mended, and how many to be watched."""
    bad = sum(1 for each in model.found if each.sign == BAD)
    return bad, len(model.found) - bad


def count_spans(model: NodeModel) -> Spans:
    """Return the count for the first line; nothing if there is nothing wrong, or nobody knows."""
    bad, watched = (0, 0) if model.lost else counts_of(model)
    spans: Spans = [(f"{bad}✗ ", "bad")] if bad else []
    spans += [(f"{watched}▲ ", "warn")] if watched else []
    return [(" !", "bold"), *spans] if spans else []


def problem_rows(model: NodeModel) -> list[Row]:
    """A row for each problem, the worst first."""
    return [
        Row(
            f"{each.rule} {each.subject}",
            {
                "sign": each.sign,
                "age_s": int(max(0.0, model.at - each.since)),
                "sentence": each.sentence,
                "cure": cure_text(each),
                "rule": each.rule,
                "problem": each,
            },
        )
        for each in model.found
    ]


def cure_text(problem: Problem) -> str:
    """Return the best cure, as key and word; empty if there is none."""
    return next((f"{KEYS.get(key, key)} {word}" for key, word in problem.cures), "")


def _sign(data: Data) -> Spans:
    return [(data["sign"], sign_role(data["sign"]))]


def _age(data: Data) -> Spans:
    return [(text.age(data["age_s"]), "dim")]


PROBLEMS = [
    Column("sign", "", 1, _sign),
    Column("since", "since", 7, _age, lambda data: data["age_s"], right=True),
    Column("what", "what is wrong", 50, plain("sentence"), grows=True),
    Column("cure", "key", 15, plain("cure", "accent"), rank=1),
    Column("rule", "rule", 13, plain("rule", "dim"), rank=2),
]


def title(model: NodeModel) -> Styled:
    """Return the title of the table."""
    bad, watched = counts_of(model)
    styled = Styled("problems", "bold")
    styled.append(" · ").append(f"{bad} to mend", "bad" if bad else "")
    styled.append(" · ").append(f"{watched} to watch", "warn" if watched else "")
    return styled.append(f" · {len(RULES)} rules")


def about(problem: Problem, at: float) -> Styled:
    """Return all that is known of a problem: the sentence, the cause, the keys."""
    styled = Styled(problem.sign, sign_role(problem.sign)).append(f" {problem.sentence}", "bold")
    styled.append(f"\n  for {text.age(max(0.0, at - problem.since))}", "dim")
    if problem.cause:
        styled.append(f" · {problem.cause}")
    for place, (key, word) in enumerate(problem.cures):
        styled.append("\n  " if not place else "  ·  ").append(KEYS.get(key, key), "accent").append(f" {word}")
    return styled


def banner(model: NodeModel) -> Styled:
    """Return the worst problem on one line; empty if there is none, or nobody knows."""
    if model.lost or not model.found:
        return Styled()
    worst = model.found[0]
    number = f"1 of {len(model.found)}"
    styled = Styled(f" {worst.sign} ", sign_role(worst.sign)).append(f"! {number} ", "accent")
    return styled.append(f" {worst.sentence}", "bold")
