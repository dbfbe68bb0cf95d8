"""The proof of an answer, or why there is none, as a tree of lines. Knows no Textual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dagbox.tui.display.text import as_json

_NOTES = {"fact": "stored", "not": "no such fact", "above": "as above", "more": "cut here"}


@dataclass(frozen=True, slots=True)
class Proof:
    """A line of a proof, what it rests on, and the lines under it."""

    label: str
    note: str = ""
    parts: Sequence[Proof] = ()


def proof_of(value: Any) -> Proof:
    """The lines of what `why` answered: a proof, or the reasons why nothing was proven."""
    if not isinstance(value, dict):
        return Proof(value if isinstance(value, str) else as_json(value))
    if "reasons" in value:
        return Proof(
            f"{value.get('goal', '')} does not hold", "no such fact", [_reason(each) for each in value["reasons"]]
        )
    note = _NOTES.get(str(value.get("kind")), str(value.get("rule") or ""))
    return Proof(str(value.get("text", as_json(value))), note, [proof_of(each) for each in value.get("children", [])])


def _reason(value: dict[str, Any]) -> Proof:
    bindings = ", ".join(f"{name} = {as_json(bound, None)}" for name, bound in (value.get("bindings") or {}).items())
    fails = Proof(f"fails at {value.get('condition', '')}", f"with {bindings}" if bindings else "")
    return Proof(str(value.get("rule", "")), "", [fails])
