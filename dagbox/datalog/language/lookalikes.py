"""Operators and words of other languages, and how the same is written here."""

from __future__ import annotations

_EITHER = "there is no 'or' among conditions: write a rule for each of them"
_BOTH = "a comma stands between conditions"
_NEGATION = "a negation is written not p(X)"
_EQUAL = "equal is written ="
_DIFFERENT = "different is written !="
_RULE = "a rule is written head :- condition, condition."
_GOAL = "a goal is its conditions alone, without a question mark"

_WRITTEN = {
    "===": _EQUAL,
    "!==": _DIFFERENT,
    "=\\=": _DIFFERENT,
    "==": _EQUAL,
    "<>": _DIFFERENT,
    "\\=": _DIFFERENT,
    "/=": _DIFFERENT,
    "=<": "at most is written <=",
    "=>": "at least is written >=",
    "<-": _RULE,
    ":=": _RULE,
    "->": _RULE,
    "?-": _GOAL,
    "\\+": _NEGATION,
    "||": _EITHER,
    "&&": _BOTH,
    "|": _EITHER,
    ";": _EITHER,
    "&": _BOTH,
    "!": _NEGATION,
    "~": _NEGATION,
    "?": _GOAL,
    "or": _EITHER,
    "and": _BOTH,
}
"""The longest first: the first one that is there is meant."""


def hint(text: str, place: int) -> str:
    """Return how to write what stands at a place that cannot stand there; empty if it looks like nothing known.

    Args:
        place: of the wrong token, which may be the middle of an operator of another language.
    """
    for written, how in _WRITTEN.items():
        for start in range(max(0, place - len(written) + 1), place + 1):
            if text.startswith(written, start) and not _goes_on(written, text[start + len(written) :]):
                return f"{written!r} is no part of the language: {how}"
    return ""


def _goes_on(written: str, rest: str) -> bool:
    """Return True for a word that is only the beginning of a longer one."""
    return written.isalpha() and (rest[:1].isalnum() or rest[:1] == "_")
