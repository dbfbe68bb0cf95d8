"""`help`: the commands by group, one command, or a topic; all from the command table."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator
from itertools import groupby

from dagbox.shell.grammar.catalog import CATALOG
from dagbox.shell.grammar.command_spec import FORMAT, CommandSpec
from dagbox.shell.handlers.topics import TOPICS
from dagbox.shell.problems import CommandFailed
from dagbox.shell.render.text import Line
from dagbox.shell.results import Text
from dagbox.shell.session import Shell

_MARGIN = "    "
_MEANING = re.compile(r"(?<=\S) {3,}")
"""What stands between an example and what it means."""
_NARROWEST = 20
_NO_BREAK = "\u00a0"
_CODE = re.compile(r"`([^`]+)`")


def show_help(shell: Shell, topic: str | None) -> Text:
    """Help on a command, on a topic, or on what there is."""
    columns = min(shell.output.size[0], 100)
    if topic is None:
        return Text(_overview(columns), {"commands": {row.name: row.summary for row in CATALOG.commands}})
    command = CATALOG.get(topic)
    if command is not None:
        return Text(_about(command, columns), {"command": command.name, "signature": command.signature})
    if topic in TOPICS:
        return Text(_topic(topic, columns), {"topic": topic, "text": TOPICS[topic].text})
    close = difflib.get_close_matches(topic, [*CATALOG.by_name, *TOPICS], n=1)
    hint = f"did you mean `help {close[0]}`?" if close else f"topics are {', '.join(TOPICS)}"
    raise CommandFailed(f"no command or topic {topic}: {hint}")


def _overview(columns: int) -> Iterator[Line]:
    yield from _styled(
        "New here? `help start` is the tour of five minutes. Commands in red ask before they destroy.", columns
    )
    width = max(len(row.name) for row in CATALOG.commands) + 2
    for group, rows in CATALOG.groups.items():
        yield [("title", group)]
        for row in rows:
            yield from _entry("danger" if row.danger else "command", row.name, width, row.summary, columns)
    yield [("title", "More")]
    for name, topic in TOPICS.items():
        yield from _entry("command", f"help {name}", width + 4, topic.summary, columns)
    yield []
    yield from _styled(
        "`help COMMAND` says more, with examples. Tab proposes what can come next. Ctrl-D leaves.", columns
    )


def _about(command: CommandSpec, columns: int) -> Iterator[Line]:
    for line in _wrapped(command.signature, columns, "  "):
        yield [("command", line)]
    yield from _styled(f"{command.summary[0].upper()}{command.summary[1:]}.", columns)
    if command.aliases:
        yield [("note", f"Also {', '.join(command.aliases)}.")]
    if command.details:
        yield []
        yield from _styled(command.details, columns)
    if command.all_options:
        yield []
        width = max(len(option.label) for option in command.all_options) + 2
        for option in command.all_options:
            label = f"--{option.name} FORMAT" if option is FORMAT else option.label
            yield from _entry("option", label, width, option.help, columns)
    if command.examples:
        yield []
        for text, meaning in command.examples:
            for line in _wrapped(meaning, columns - 4):
                yield [("note", f"  # {line}")]
            yield [("", f"  {text}")]


def _topic(name: str, columns: int) -> Iterator[Line]:
    """Yield the lines of a topic: paragraphs wrapped, examples as they are, what does not fit beside one below it."""
    for is_example, lines in groupby(TOPICS[name].text.splitlines(), lambda line: line.startswith(_MARGIN)):
        if is_example:
            for line in lines:
                yield from _example(line, columns)
        else:
            for filled, paragraph in groupby(lines, bool):
                yield from _styled(" ".join(paragraph), columns) if filled else [[]]


def _example(line: str, columns: int) -> Iterator[Line]:
    match = _MEANING.search(line)
    if len(line) <= columns or match is None:
        yield [("string", line)]
        return
    yield [("string", line[: match.start()])]
    for part in _wrapped(line[match.end() :], columns - 2 * len(_MARGIN)):
        yield [("string", f"{_MARGIN}{_MARGIN}{part}")]


def _entry(style: str, label: str, width: int, text: str, columns: int) -> Iterator[Line]:
    """Yield a label and what it means: beside it, or below it where there is no room."""
    beside = columns - width - 2
    if beside < _NARROWEST:
        yield [("", "  "), (style, label)]
        yield from ([("", f"{_MARGIN}  "), *line] for line in _styled(text, columns - len(_MARGIN) - 2))
        return
    first, *lines = _styled(text, beside)
    yield [("", "  "), (style, label.ljust(width)), *first]
    yield from ([("", " " * (width + 2)), *line] for line in lines)


def _styled(text: str, columns: int) -> Iterator[Line]:
    """Wrapped lines in which what stands in backticks is coloured."""
    whole = _CODE.sub(lambda code: code.group().replace(" ", _NO_BREAK), text)
    for line in _wrapped(whole, columns):
        parts: Line = []
        for place, part in enumerate(_CODE.split(line.replace(_NO_BREAK, " "))):
            if part:
                parts.append(("command" if place % 2 else "", part))
        yield parts


def _wrapped(text: str, columns: int, indent: str = "") -> list[str]:
    """Return the lines of a text; words are never divided, the names of options neither."""
    return textwrap.wrap(
        text, max(columns, _NARROWEST), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
