"""Commands on the shell itself: watch, time, source, set, use, connect, history, clear, exit."""

from __future__ import annotations

import statistics
import threading
import time
from itertools import islice

from dagbox.shell.connection import is_missing, open_connection
from dagbox.shell.grammar.parsed import ParsedCommand
from dagbox.shell.grammar.splitting import split_commands
from dagbox.shell.problems import CommandFailed, LeaveShell
from dagbox.shell.results import Outcome, Rows
from dagbox.shell.session import Shell
from dagbox.shell.settings import SETTINGS
from dagbox.text.amounts import plural
from dagbox.text.durations import format_duration
from dagbox.text.files import path_of, resolved, why_unreadable
from dagbox.text.limits import last_of
from dagbox.text.terminal import cell_width, one_line, truncate, truncate_middle

DEFAULT_EVERY_S = 2.0
DEFAULT_HISTORY = 50
MOST_SOURCES = 16
"""The deepest nesting of files that run other files."""
_NOT_REPEATED = frozenset({"watch", "source", "edit", "exit", "clear", "batch", "commit", "connect"})


def watch(shell: Shell, command: ParsedCommand, every: float | None, count: int | None) -> None:
    """Run a command again and again, each time on an empty screen, until Ctrl-C."""
    _check_repeatable(command, "watch")
    pause = DEFAULT_EVERY_S if every is None else every
    done = 0
    sleeper = threading.Event()
    try:
        while True:
            result = shell.perform(command)
            if shell.output.terminal and shell.ask is not None:
                shell.clear_screen()
                shell.output.say(_header(pause, command.text, shell.output.size[0]))
            shell.show(result, command, paged=False)
            done += 1
            if count is not None and done >= count:
                return
            sleeper.wait(pause)
    except KeyboardInterrupt:
        if shell.ask is None:
            raise
        shell.output.say("")


def _header(pause: float, command: str, columns: int) -> str:
    """Return the line above what `watch` shows: no wider than the terminal, by a cut in the command."""
    before, after = f"every {format_duration(pause)}: ", f"   {time.strftime('%H:%M:%S')}   Ctrl-C ends it"
    room = columns - cell_width(before) - cell_width(after)
    return truncate(before + truncate_middle(one_line(command), max(room, 1)) + after, columns)


def _check_repeatable(command: ParsedCommand, verb: str) -> None:
    row = command.command
    if row is None:
        raise CommandFailed(f"{verb} takes a command, such as {verb} locks")
    if row.name in _NOT_REPEATED or (row.danger and verb == "watch"):
        raise CommandFailed(f"{verb} {row.name} makes no sense: {row.name} is not a thing to repeat")


def time_command(shell: Shell, command: ParsedCommand, repeat: int | None) -> Outcome | None:
    """Run a command, show its result, and say how long it took."""
    _check_repeatable(command, "time")
    spans: list[float] = []
    for _ in range(repeat or 1):
        begun = time.perf_counter()
        result = shell.perform(command)
        if repeat is None:
            shell.show(result, command)
        elif result is not None:
            _exhaust(result)
        spans.append(time.perf_counter() - begun)
    if repeat is None:
        shell.output.say(format_duration(spans[0]))
        return None
    figures = {"least": min(spans), "median": statistics.median(spans), "most": max(spans)}
    text = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in figures.items())
    document = {f"{name}_ms": round(seconds * 1000, 3) for name, seconds in figures.items()}
    return Outcome(f"{plural(len(spans), 'time')}: {text}", {"times": len(spans), **document})


def _exhaust(result: object) -> None:
    """Read all of a result that comes as it is asked for."""
    for name in ("items", "rows"):
        for _ in getattr(result, name, ()):
            pass


def source(shell: Shell, path: str) -> None:
    """Run the commands of a file.

    Raises:
        CommandFailed: it cannot be read, runs itself, or one of its commands failed.
    """
    try:
        file = resolved(path_of(path))
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {why_unreadable(error)}") from None
    if file in shell.sourcing:
        raise CommandFailed(f"{file} runs itself")
    if len(shell.sourcing) >= MOST_SOURCES:
        raise CommandFailed(f"files run files more than {MOST_SOURCES} deep")
    shell.sourcing = (*shell.sourcing, file)
    failed = 0
    try:
        with file.open(encoding="utf-8") as lines:
            for text, line in split_commands(lines, lambda: shell.bucket):
                if shell.run_text(text):
                    continue
                if shell.interrupted:
                    raise KeyboardInterrupt
                failed += 1
                if not shell.keep_going:
                    raise CommandFailed(f"{file}, line {line}: stopped here")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read {file}: {why_unreadable(error)}") from None
    finally:
        shell.sourcing = shell.sourcing[:-1]
    if failed:
        raise CommandFailed(f"{file}: {plural(failed, 'command')} failed")


def set_setting(shell: Shell, name: str | None, value: str | None) -> Rows | Outcome:
    """Show settings, or change one."""
    if name is not None and value is not None:
        shell.settings.set(name, value)
        if name == "timeout":
            shell.db.timeout = shell.settings.timeout_s
        return Outcome(f"{name} is {value}", {"setting": name, "value": value})
    if name is not None and name not in SETTINGS:
        raise CommandFailed(f"no setting {name}: the settings are {', '.join(SETTINGS)}")
    rows = [
        {
            "setting": each.name,
            "value": shell.settings[each.name],
            "choices": ", ".join(each.choices),
            "help": each.help,
        }
        for each in SETTINGS.values()
        if name in (None, each.name)
    ]
    return Rows(("setting", "value", "help", "choices"), rows, "setting", raw="value")


def use(shell: Shell, bucket: str | None) -> Outcome:
    """Set the bucket for keys without one."""
    if bucket is None:
        shell.bucket = None
        return Outcome("keys need their bucket again", {"bucket": None})
    name = bucket.rstrip("/")
    known = shell.db.buckets()
    shell.bucket = name
    outcome = Outcome(f"keys without a bucket are in {name}", {"bucket": name})
    if name not in known:
        outcome.notes.append(f"there is no bucket {name} yet: the first put makes it")
    return outcome


def connect(shell: Shell, target: str | None) -> Outcome:
    """Go to another node or directory; what was held here is given back."""
    place = target or shell.connection.target
    if shell.connection.embedded and place == shell.connection.target:
        shell.give_back_locks()
        shell.connection.close()
    timeout_s = shell.settings.timeout_s
    fresh = open_connection(
        place,
        timeout_s=timeout_s,
        configuration=shell.configuration,
        read_only=shell.stays_read_only,
        may_make=lambda: True,
    )
    shell.batch = None
    shell.give_back_locks()
    shell.connection.close()
    shell.connection = fresh
    shell.bucket = None
    if fresh.said:
        shell.output.say(fresh.said)
    outcome = Outcome(f"connected to {fresh.label}", {"target": place, "embedded": fresh.embedded})
    if fresh.environment.label:
        outcome.notes.append(f"this is {fresh.environment.label}")
    if shell.read_only:
        outcome.notes.append("commands that write are refused here")
    return outcome


def danger_of_connect(shell: Shell, target: str | None) -> str | None:
    """Return what is given up by leaving, and what is made by coming."""
    lost = []
    if target is not None and not shell.stays_read_only and is_missing(target):
        lost.append(f"make a new database in {target}")
    if shell.held:
        lost.append(f"give back {plural(len(shell.held), 'lock')}")
    if shell.batch:
        lost.append(f"forget a batch of {plural(len(shell.batch), 'write')}")
    return " and ".join(lost) or None


def history(shell: Shell, text: str | None, limit: int | None) -> Rows:
    """The commands typed before, the latest last."""
    most = DEFAULT_HISTORY if limit is None else limit
    lines = (line for line in shell.history_lines() if text is None or text in line)
    result = Rows(("command",), [], "command", raw="command")
    found = last_of(list(islice(lines, most + 1))[::-1], most, result.notes.append)
    result.rows = [{"command": line} for line in found]
    return result


def clear(shell: Shell) -> None:
    """Empty the screen."""
    shell.clear_screen()


def leave(shell: Shell) -> None:
    """End the shell, after asking if something would be lost by it.

    Raises:
        LeaveShell: always, unless somebody says no.
    """
    if shell.batch and shell.ask is not None:
        shell.confirm(f"forget a batch of {plural(len(shell.batch), 'write')}")
    raise LeaveShell
