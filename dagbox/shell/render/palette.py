"""The colours: one name for each sort of thing, used for results and for what is being typed."""

from __future__ import annotations

STYLES: dict[str, tuple[str, str]] = {
    # name: (codes for the terminal, the same for prompt_toolkit)
    "command": ("1;34", "bold ansiblue"),
    "danger": ("1;31", "bold ansired"),
    "option": ("36", "ansicyan"),
    "ref": ("32", "ansigreen"),
    "bucket": ("32", "ansigreen"),
    "lock": ("33", "ansiyellow"),
    "service": ("35", "ansimagenta"),
    "path": ("36", "ansicyan"),
    "relation": ("1;35", "bold ansimagenta"),
    "keyword": ("1;34", "bold ansiblue"),
    "predicate": ("35", "ansimagenta"),
    "variable": ("1;33", "bold ansiyellow"),
    "name": ("", ""),
    "field": ("36", "ansicyan"),
    "json-key": ("36", "ansicyan"),
    "string": ("33", "ansiyellow"),
    "number": ("35", "ansimagenta"),
    "literal": ("1;35", "bold ansimagenta"),
    "operator": ("1", "bold"),
    "punctuation": ("", ""),
    "redirect": ("1", "bold"),
    "program": ("90", "ansibrightblack"),
    "file": ("4", "underline"),
    "comment": ("90", "ansibrightblack"),
    "frame": ("90", "ansibrightblack"),
    "version": ("90", "ansibrightblack"),
    "title": ("1", "bold"),
    "heading": ("1;4", "bold underline"),
    "missing": ("31", "ansired"),
    "error": ("1;31", "bold ansired underline"),
    "unfinished": ("", ""),
    "note": ("90", "ansibrightblack"),
    "good": ("32", "ansigreen"),
}

ENVIRONMENT_COLOURS = ("red", "yellow", "green", "blue", "magenta", "cyan")
"""The colours that an environment may have."""


def coloured(style: str, text: str) -> str:
    """The text with the codes of its style around it."""
    codes = STYLES.get(style, ("", ""))[0]
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text
