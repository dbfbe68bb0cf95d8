"""Colours while typing, from the same parse that runs it."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.styles import Style

from dagbox.shell.grammar.parsed import ParsedCommand
from dagbox.shell.render.palette import STYLES

MOST_CHARACTERS = 20_000
"""A longer text is not coloured: a paste must not make typing slow."""


def shell_style() -> Style:
    """The styles of everything that prompt_toolkit draws for the shell."""
    rules = {f"shell.{name}": style for name, (_, style) in STYLES.items() if style}
    rules |= {
        "bottom-toolbar": "noreverse bg:default fg:default",
        "bottom-toolbar.text": "",
        "hint": "ansibrightblack",
        "hint.here": "bold fg:default",
        "hint.note": "ansibrightblack italic",
        "hint.error": "ansired",
        "state.place": "bg:ansibrightblack ansiwhite",
        "state.away": "bg:ansired ansiwhite",
        "state.batch": "bg:ansiyellow ansiblack",
        "state.lock": "bg:ansiblue ansiwhite",
        "state.note": "ansibrightblack",
        "prompt.bucket": "ansigreen",
        "prompt.mark": "bold",
        "continuation": "ansibrightblack",
        "auto-suggestion": "ansibrightblack",
    }
    return Style.from_dict(rules)


def line_fragments(parsed: ParsedCommand) -> list[StyleAndTextTuples]:
    """The lines of a text in styled parts."""
    styles = [""] * len(parsed.text)
    for span in parsed.spans:
        if span.style == "unfinished":
            continue
        styles[span.start : span.end] = [f"class:shell.{span.style}"] * (span.end - span.start)
    lines: list[StyleAndTextTuples] = []
    place = 0
    for line in parsed.text.split("\n"):
        fragments: StyleAndTextTuples = []
        start = place
        for end in range(place, place + len(line) + 1):
            if end == place + len(line) or styles[end] != styles[start]:
                if end > start:
                    fragments.append((styles[start], parsed.text[start:end]))
                start = end
        lines.append(fragments)
        place += len(line) + 1
    return lines


class ShellLexer(Lexer):
    """Colours a text as the parser understands it.

    Args:
        parse: parses a text.
    """

    def __init__(self, parse: Callable[[str], ParsedCommand]) -> None:
        self._parse = parse

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """The styled parts of each line."""
        if len(document.text) > MOST_CHARACTERS:
            plain = document.lines
            return lambda number: [("", plain[number])]
        lines = line_fragments(self._parse(document.text))
        return lambda number: lines[number] if number < len(lines) else []
