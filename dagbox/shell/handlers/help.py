"""`help`: the commands by group, one command, or a topic; all from the command table."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator

from dagbox.shell.grammar.catalog import CATALOG
from dagbox.shell.grammar.command_spec import FORMAT, CommandSpec
from dagbox.shell.handlers.topics import TOPICS
from dagbox.shell.problems import CommandFailed
from dagbox.shell.render.text import Line
from dagbox.shell.results import Text
from dagbox.shell.session import Shell

_CODE = re.compile(r"`([^`]+)`")


def show_help(shell: Shell, topic: str | None) -> Text:
    """Help on a command, on a topic, or on what there is."""
    columns = min(shell.output.size[0], 100)
    if topic is None:
        return Text(_overview(), {"commands": {row.name: row.summary for row in CATALOG.commands}})
    command = CATALOG.get(topic)
    if command is not None:
        return Text(_about(command, columns), {"command": command.name, "signature": command.signature})
    if topic in TOPICS:
        return Text(_topic(topic), {"topic": topic, "text": TOPICS[topic].text})
    close = difflib.get_close_matches(topic, [*CATALOG.by_name, *TOPICS], n=1)
    hint = f"did you mean `help {close[0]}`?" if close else f"topics are {', '.join(TOPICS)}"
    raise CommandFailed(f"no command or topic {topic}: {hint}")


def _overview() -> Iterator[Line]:
    yield from _styled(
        "New here? `help start` is the tour of five minutes. Commands in red ask before they destroy.", 100
    )
    width = max(len(row.name) for row in CATALOG.commands) + 2
    for group, rows in CATALOG.groups.items():
        yield [("title", group)]
        for row in rows:
            yield [("", "  "), ("danger" if row.danger else "command", row.name.ljust(width)), ("", row.summary)]
    yield [("title", "More")]
    for name, topic in TOPICS.items():
        yield [("", "  "), ("command", f"help {name}".ljust(width + 4)), ("", topic.summary)]
    yield []
    yield from _styled("`help COMMAND` says more, with examples. Tab proposes what can come next. Ctrl-D leaves.", 100)


def _about(command: CommandSpec, columns: int) -> Iterator[Line]:
    yield [("command", command.signature)]
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
            yield [("", "  "), ("option", label.ljust(width)), ("", option.help)]
    if command.examples:
        yield []
        for text, meaning in command.examples:
            yield [("note", f"  # {meaning}")]
            yield [("", f"  {text}")]


def _topic(name: str) -> Iterator[Line]:
    for line in TOPICS[name].text.splitlines():
        if line.startswith("    "):
            yield [("string", line)]
        else:
            yield from _styled(line, 1000) if line else [[]]


def _styled(text: str, columns: int) -> Iterator[Line]:
    """Wrapped lines in which what stands in backticks is coloured."""
    for line in textwrap.wrap(text, columns) or [""]:
        parts: Line = []
        for place, part in enumerate(_CODE.split(line)):
            if part:
                parts.append(("command" if place % 2 else "", part))
        yield parts
