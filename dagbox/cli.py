"""The `dagbox` command: which subcommands there are, where each is defined, and how its end is told.

Rules:

1. A subcommand's module is imported when it runs (or its own help is shown), never before: `dagbox --help` is quick.
2. Data goes to standard output, everything else to standard error.
3. Exit status: 0 done, 1 failed, 2 wrong usage, 3 cannot connect, 130 interrupted. An error is one line;
   its traceback is shown only if DAGBOX_DEBUG is set.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple

import click

from dagbox import __version__
from dagbox.errors import BadSetting, CannotConnect, DagBoxError, UnknownSetting

DONE, FAILED, WRONG_USAGE, NO_CONNECTION, INTERRUPTED = 0, 1, 2, 3, 130


class Subcommand(NamedTuple):
    """Where a subcommand is defined ("module:attribute"), and what it does in a few words."""

    place: str
    summary: str


SECTIONS: dict[str, dict[str, Subcommand]] = {
    "Run": {
        "up": Subcommand("dagbox.commands.node:up", "run a node: a broker and its workers"),
        "demo": Subcommand("dagbox.commands.demo:demo", "run a node on real data, with gentle traffic"),
        "broker": Subcommand("dagbox.runtime.process:broker_command", "run a broker alone"),
        "worker": Subcommand("dagbox.runtime.process:worker_command", "run one worker"),
        "bench": Subcommand("dagbox.bench.command:bench_command", "measure speed against the peers"),
    },
    "Look": {
        "top": Subcommand("dagbox.commands.top:top_command", "watch a node live"),
        "shell": Subcommand("dagbox.commands.shell:shell_command", "explore a database by commands"),
        "status": Subcommand("dagbox.commands.watching:status", "what a node does at this moment"),
        "services": Subcommand("dagbox.commands.watching:services", "queues, workers and times of each service"),
        "workers": Subcommand("dagbox.commands.watching:workers", "heartbeat, credit and work of each worker"),
        "events": Subcommand("dagbox.commands.watching:events", "what happened: joined, late, dead, refused"),
        "traces": Subcommand("dagbox.commands.watching:traces", "timelines of recent or slow requests"),
    },
    "Records": {
        "get": Subcommand("dagbox.commands.records:get", "show records, with the records they lead to"),
        "put": Subcommand("dagbox.commands.records:put", "write a record"),
        "del": Subcommand("dagbox.commands.records:delete", "delete records"),
        "scan": Subcommand("dagbox.commands.records:scan", "show the records of a bucket in order"),
        "buckets": Subcommand("dagbox.commands.records:buckets", "list buckets with their number of records"),
    },
    "Locks": {
        "lock": Subcommand("dagbox.commands.locks:lock", "hold a lock while a command runs"),
        "locks": Subcommand("dagbox.commands.locks:locks", "list who holds which lock"),
        "release": Subcommand("dagbox.commands.locks:release", "take a lock away from its holder"),
    },
    "Logic": {
        "query": Subcommand("dagbox.commands.logic:query", "show the rows of a goal"),
        "why": Subcommand("dagbox.commands.logic:why", "show the proof of an answer"),
        "explain": Subcommand("dagbox.commands.logic:explain", "show how a goal would be answered"),
        "rules": Subcommand("dagbox.commands.logic:rules", "list, add and drop rules"),
        "facts": Subcommand("dagbox.commands.logic:facts", "list, assert and retract facts"),
    },
    "Services": {
        "call": Subcommand("dagbox.commands.calls:call", "call any service"),
    },
    "Files": {
        "import": Subcommand("dagbox.commands.files:import_file", "read records from JSON Lines"),
        "export": Subcommand("dagbox.commands.files:export_file", "write records as JSON Lines"),
        "backup": Subcommand("dagbox.commands.files:backup", "copy a database while work goes on"),
        "restore": Subcommand("dagbox.commands.files:restore", "make a database from a backup"),
        "verify": Subcommand("dagbox.commands.files:verify", "read everything and check it"),
        "compact": Subcommand("dagbox.commands.files:compact", "give unused room back to the disk"),
        "keys": Subcommand("dagbox.commands.keys:keys_command", "make and list keys for TCP"),
    },
}
COMMANDS = {name: command for section in SECTIONS.values() for name, command in section.items()}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return [name for name, command in COMMANDS.items() if is_there(command)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand of that name; None if there is none."""
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        if not is_there(found):
            raise DagBoxError(f"this installation has no {cmd_name} command: install dagbox again")
        module, _, attribute = found.place.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it; a wrong name is told with the names that are near."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else "dagbox --help lists the commands"
            raise click.UsageError(f"no command {args[0]!r}: {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with their summaries, by section."""
        for section, commands in SECTIONS.items():
            rows = [(f"{name:<8}", command.summary) for name, command in commands.items() if is_there(command)]
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows, col_max=12)


def is_there(command: Subcommand) -> bool:
    """Whether the module of a subcommand is installed."""
    module = command.place.partition(":")[0]
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


EPILOG = """\
Where a command takes DIR or URL, or --at, it goes to the node that serves the directory, or opens the directory itself
if no node runs there. Without it, that is DAGBOX_URL, then "at" in dagbox.toml, then ./data.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 cannot connect, 130 interrupted.
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="dagbox", message="%(prog)s %(version)s")
def cli() -> None:
    """A small database of components that talk by messages."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; those of the process if None.

    Returns:
        The exit status.
    """
    if "_DAGBOX_COMPLETE" in os.environ:
        cli.main(prog_name="dagbox")
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:
        # Whoever read our output has enough. What is still buffered must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE


def _run(arguments: list[str]) -> int:
    try:
        with cli.make_context("dagbox", arguments) as context:
            status: Any = cli.invoke(context)
        sys.stdout.flush()
        return status if isinstance(status, int) else DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return WRONG_USAGE
    except click.exceptions.Exit as end:
        sys.stdout.flush()
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("DAGBOX_DEBUG"):
            raise
        return _tell(error)


def _tell(error: Exception) -> int:
    """Say in one line what went wrong; the exit status."""
    status = FAILED
    if isinstance(error, click.ClickException):
        status = error.exit_code
        text = error.format_message().strip()
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        text += f" (see {path} --help)" if path else ""
    elif isinstance(error, DagBoxError):
        text = error.message
        if isinstance(error, CannotConnect):
            status = NO_CONNECTION
        elif isinstance(error, UnknownSetting | BadSetting):
            status = WRONG_USAGE
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = f"{type(error).__name__}: {error} (this is a fault of dagbox; DAGBOX_DEBUG=1 shows where)"
    click.echo(
        f"{click.style('dagbox: error:', fg='red') if _coloured() else 'dagbox: error:'} {one_line(text)}", err=True
    )
    for line in getattr(error, "snippet", "").splitlines():
        click.echo(f"  {printable(line)}", err=True)  # the place in a rule or goal, and a caret below it
    return status


def one_line(text: str) -> str:
    """The text without line breaks and without anything that a terminal would act on."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """The text with a blank for each character that a terminal would act on."""
    return "".join(char if char.isprintable() else " " for char in text)


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
