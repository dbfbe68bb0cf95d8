"""`run_shell`: from what the command line said to an exit status.

Exit status: 0 done, 1 a command failed, 2 wrong usage, 3 cannot connect, 130 interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import dagbox
from dagbox.shell.connection import Connection, default_target, open_connection
from dagbox.shell.grammar.parse import parse
from dagbox.shell.grammar.parsed import ParsedCommand
from dagbox.shell.grammar.splitting import split_commands
from dagbox.shell.output import Output
from dagbox.shell.problems import CommandFailed, LeaveShell
from dagbox.shell.session import Shell
from dagbox.shell.settings import Configuration, check_colour, configuration_path, load_configuration
from dagbox.text.terminal import printable

DONE, FAILED, WRONG_USAGE, CANNOT_CONNECT, INTERRUPTED = 0, 1, 2, 3, 130


def run_shell(
    target: str | None = None,
    *,
    commands: Sequence[str] = (),
    read_stdin: bool | None = None,
    result_format: str | None = None,
    yes: bool = False,
    read_only: bool = False,
    keep_going: bool = False,
    label: str | None = None,
    colour: str | None = None,
    use_colour: bool | None = None,
    timeout_s: float | None = None,
) -> int:
    """Run the shell until it ends.

    Args:
        target: a directory or URL; None for `DAGBOX_URL` or the directory `data`.
        commands: run these, one after the other, instead of asking for commands.
        read_stdin: take commands from standard input; None: if it is no terminal and there are no `commands`.
        result_format: tree, table, json or raw; None: what the settings say.
        yes: destructive commands do not ask.
        read_only: refuse commands that write.
        keep_going: go on after a command that fails.
        label: stands before the prompt; None: what the environment in `shell.toml` says.
        colour: of the label and the prompt.
        use_colour: whether results are coloured on a terminal; None: if it understands colours and NO_COLOR is not set.
        timeout_s: how long a request may take, in seconds; None: what the settings say.

    Returns:
        The exit status.
    """
    output = Output(sys.stdout, sys.stderr, colour=use_colour)
    try:
        configuration = load_configuration(configuration_path())
        if result_format is not None:
            configuration.settings.set("format", result_format)
        if timeout_s is not None:
            configuration.settings.set("timeout", str(timeout_s))
        if colour is not None:
            check_colour(colour, "--colour")
    except CommandFailed as error:
        output.report(str(error))
        return WRONG_USAGE
    place = target or default_target(output.say)
    may_make = partial(_may_make, place, commands, read_stdin, yes)
    connection = _connect(place, configuration, read_only, output, may_make)
    if connection is None:
        return CANNOT_CONNECT
    environment = connection.environment
    connection.environment = replace(
        environment, label=environment.label if label is None else label, colour=colour or environment.colour
    )
    shell = Shell(connection, output, configuration.settings, configuration, read_only, yes, keep_going)
    return _run_and_close(shell, lambda: _run(shell, commands, read_stdin))


def _may_make(place: str, commands: Sequence[str], read_stdin: bool | None, yes: bool) -> bool:
    """Return True if to make a database where there is none: a person is asked, `-c` must write, standard input may."""
    if yes or (not commands and _reads_stdin(read_stdin)):
        return True
    if commands:
        readings = (
            parse(text) for command in commands for text, _ in split_commands(command.split("\n"), lambda: None)
        )
        return any(_may_write(parsed) for parsed in readings)
    import click

    return click.confirm(f"There is no database in {printable(place)}. Make one?", err=True)


def _may_write(parsed: ParsedCommand) -> bool:
    command = parsed.command
    return command is not None and (command.writes or command.name == "source")


def _reads_stdin(read_stdin: bool | None) -> bool:
    return not sys.stdin.isatty() if read_stdin is None else read_stdin


def _connect(
    place: str, configuration: Configuration, read_only: bool, output: Output, may_make: Callable[[], bool]
) -> Connection | None:
    """The open connection; None, with one line on standard error, if there is none to be had."""
    timeout_s = configuration.settings.timeout_s
    try:
        connection = open_connection(
            place, timeout_s=timeout_s, configuration=configuration, read_only=read_only, may_make=may_make
        )
    except dagbox.DagBoxError as error:
        output.report(str(error))
        return None
    if connection.said:
        output.say(connection.said)
    return connection


def _run_and_close(shell: Shell, run: Callable[[], int]) -> int:
    """Run, and give back what the shell holds, also when it is told to end (SIGTERM) or loses its terminal (SIGHUP)."""
    try:
        with _told_to_end():
            return run()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        shell.close()


@contextmanager
def _told_to_end() -> Iterator[None]:
    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    try:
        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    except ValueError:  # not the main thread: whoever runs the shell there ends it
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(shell: Shell, commands: Sequence[str], read_stdin: bool | None) -> int:
    if commands:
        texts = (text for command in commands for text, _ in split_commands(command.split("\n"), lambda: shell.bucket))
        return run_commands(shell, texts)
    if _reads_stdin(read_stdin):
        return run_commands(shell, (text for text, _ in split_commands(sys.stdin, lambda: shell.bucket)))
    from dagbox.shell.editor.repl import run_repl

    return run_repl(shell)


def run_commands(shell: Shell, texts: Iterable[str]) -> int:
    """Run commands one after the other; the exit status."""
    status = DONE
    try:
        for text in texts:
            if shell.run_text(text):
                continue
            if shell.interrupted:
                return INTERRUPTED
            status = FAILED
            if not shell.keep_going:
                return status
    except LeaveShell as leave:
        return status if leave.status is None else leave.status
    return status
