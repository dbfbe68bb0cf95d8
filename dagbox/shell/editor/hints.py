"""The two lines below the prompt: what the command under the cursor takes, and what the shell holds."""

from __future__ import annotations

from collections.abc import Iterable

from dagbox.shell.grammar.parsed import ParsedCommand
from dagbox.shell.render.text import Line, plain
from dagbox.shell.session import Shell
from dagbox.text.durations import format_duration
from dagbox.text.terminal import printable, truncate

GRAMMARS = {
    "relations": "NAME: BUCKET/KEY, ... | via PATH | where QUERY [in BUCKET] [limit N] [{ ... }]",
    "facts": "PREDICATE(ARGUMENT, ...), ...   a name, a text in quotes, or a number",
}
"""The forms allowed inside an open bracket, by the name of the parameter."""
NOTHING_TYPED = "help lists the commands, Tab proposes, Ctrl-D leaves"


def hint(parsed: ParsedCommand, columns: int = 1000) -> Line:
    """Return what to type next: the signature with the place one is at in bold, or what is wrong.

    Args:
        columns: what the terminal has; without room, the summary goes, then what is far from the place one is at.
    """
    inner = innermost(parsed)
    problem = parsed.problem
    if problem is not None and not (parsed.being_typed and inner.command is not None):
        return [("hint" if parsed.being_typed else "hint.error", problem.message)]
    if inner.command is None:
        return [("hint", NOTHING_TYPED)]
    return _signature(inner, columns)


def innermost(parsed: ParsedCommand) -> ParsedCommand:
    """The command that the text ends in: that of `watch` or `time`, if one is there."""
    command = parsed.values.get("command")
    return innermost(command) if isinstance(command, ParsedCommand) and command.command is not None else parsed


def _signature(parsed: ParsedCommand, columns: int) -> Line:
    command = parsed.command
    if command is None:
        return []
    if parsed.active in GRAMMARS and parsed.unfinished:
        return [("hint.here", GRAMMARS[parsed.active])]
    line = _around_here(
        [(text, name == parsed.active if name else not parsed.active) for name, text in command.parts], columns
    )
    if len(plain(line)) + len(command.summary) + 3 <= columns:
        line.append(("hint.note", f"   {command.summary}"))
    return line


def _around_here(parts: list[tuple[str, bool]], columns: int) -> Line:
    """The parts of a signature; those after the place one is at, then those before it, give way to `...`."""
    first, last = 1, len(parts)
    here = next((place for place, (_, active) in enumerate(parts) if active), 0)

    def line() -> Line:
        shown = [parts[0], *([("...", False)] if first > 1 else []), *parts[first:last]]
        shown += [("...", False)] if last < len(parts) else []
        return [("hint.here" if active else "hint", text) for text, active in shown]

    while sum(len(text) + 1 for _, text in line()) - 1 > columns and (last > max(here + 1, first) or first < here):
        if last > max(here + 1, first):
            last -= 1
        else:
            first += 1
    joined: Line = []
    for part in line():
        joined += [("hint", " "), part] if joined else [part]
    return joined


def state(shell: Shell, *, reachable: bool = True, fetching: bool = False, more: bool = False) -> Line:
    """Return where one is, what is held, and how long the last command took."""
    line: Line = [("state.place" if reachable else "state.away", f" {shell.connection.label} ")]
    if not reachable:
        line.append(("state.away", "no answer, trying again "))
    if shell.read_only:
        line.append(("state.note", " read-only "))
    if shell.batch is not None:
        line.append(("state.batch", f" batch {len(shell.batch)} "))
    for held in shell.held:
        left = held.left_s
        style, text = ("state.lock", format_duration(left, whole=True)) if left > 0 else ("state.away", "lost")
        line.append((style, f" lock {truncate(printable(held.name), 30)} {text} "))
    if shell.last_s is not None:
        line.append(("state.note", f" {format_duration(shell.last_s)} "))
    if more:
        line.append(("state.note", " more names: type on "))
    elif fetching:
        line.append(("state.note", " ... "))
    return line


def plain_hint(parsed: ParsedCommand) -> str:
    """The hint without styles; the place one is at stands between stars."""
    return _joined(hint(parsed))


def _joined(line: Iterable[tuple[str, str]]) -> str:
    return "".join(f"*{text}*" if style == "hint.here" else text for style, text in line)
