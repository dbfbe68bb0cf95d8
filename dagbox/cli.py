"""The `dagbox` command: its subcommands, where each is defined, and how errors and exit status are reported.

Rules:

1. A subcommand's module is imported when it runs or shows its help, never before: `dagbox --help` is quick.
2. Data goes to standard output, everything else to standard error.
3. Exit status: 0 done, 1 failed, 2 wrong usage, 3 cannot connect, 130 interrupted. An error is one line;
   its traceback is shown only if DAGBOX_DEBUG is set.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple

import click

from dagbox import __version__
from dagbox.errors.reporting import DONE, INTERRUPTED, WRONG_USAGE, report_error
from dagbox.text.streams import prepare_standard_streams


class Subcommand(NamedTuple):
    """A subcommand: the "module:attribute" that defines it, and a summary for the list."""

    target: str
    summary: str


SECTIONS: dict[str, dict[str, Subcommand]] = {
    "Run": {
        "up": Subcommand("dagbox.commands.node:up", "run a node: a broker and its workers"),
        "demo": Subcommand("dagbox.commands.demo:demo", "run a node on real data, with gentle traffic"),
        "broker": Subcommand("dagbox.runtime.process:broker_command", "run a broker alone"),
        "worker": Subcommand("dagbox.runtime.process:worker_command", "run one worker"),
        "restart": Subcommand("dagbox.commands.node:restart", "start the process of a worker anew"),
        "drain": Subcommand("dagbox.commands.node:drain", "have a worker finish what it has in hand, and leave"),
        "add": Subcommand("dagbox.commands.node:add", "start one more reader, or a worker that was drained"),
        "bench": Subcommand("dagbox.commands.bench.command:bench", "measure how fast a database is, and compare"),
    },
    "Look": {
        "top": Subcommand("dagbox.commands.top:top_command", "watch a node live"),
        "shell": Subcommand("dagbox.commands.shell:shell_command", "explore a database by commands"),
        "doctor": Subcommand("dagbox.commands.doctor:doctor", "what is wrong with a node or a directory"),
        "status": Subcommand("dagbox.commands.watching:status", "what a node is doing now"),
        "services": Subcommand("dagbox.commands.watching:services", "queue, workers and times of each service"),
        "workers": Subcommand("dagbox.commands.watching:workers", "heartbeat, credit and work of each worker"),
        "events": Subcommand(
            "dagbox.commands.watching:events", "workers that joined, were late or died; refused requests"
        ),
        "traces": Subcommand("dagbox.commands.watching:traces", "timelines of recent or slow requests"),
    },
    "Records": {
        "get": Subcommand("dagbox.commands.records:get", "show records and the records they refer to"),
        "put": Subcommand("dagbox.commands.records:put", "write a record"),
        "del": Subcommand("dagbox.commands.records:delete", "delete records"),
        "scan": Subcommand("dagbox.commands.records:scan", "show the records of a bucket in order"),
        "buckets": Subcommand("dagbox.commands.records:buckets", "list buckets with their number of records"),
    },
    "Locks": {
        "lock": Subcommand("dagbox.commands.locks:lock", "hold a lock while a command runs"),
        "locks": Subcommand("dagbox.commands.locks:locks", "list locks, their holders and who waits for them"),
        "release": Subcommand("dagbox.commands.locks:release", "force the release of a lock"),
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
        "restore": Subcommand("dagbox.commands.files:restore", "create a database from a backup"),
        "verify": Subcommand("dagbox.commands.files:verify", "check everything in a database"),
        "compact": Subcommand("dagbox.commands.files:compact", "return unused space to the disk"),
    },
}
COMMANDS = {name: command for section in SECTIONS.values() for name, command in section.items()}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand of that name; return None if there is none."""
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, _, attribute = found.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand. The error for an unknown name suggests similar ones."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else "dagbox --help lists the commands"
            raise click.UsageError(f"no command {args[0]!r}: {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their summaries, by section."""
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                rows = [(f"{name:<8}", command.summary) for name, command in commands.items()]
                formatter.write_dl(rows, col_max=12)


EPILOG = """\
DIR, URL and --at name the database: a command connects to the node that serves the directory, or opens the directory
itself if no node runs there. The default is DAGBOX_URL, then "at" in dagbox.toml, then ./data.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 cannot connect, 130 interrupted.
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="dagbox", message="%(prog)s %(version)s")
def cli() -> None:
    """A small database of components that talk by messages."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the arguments without the program's name; None for those of the process.

    Returns:
        The exit status.
    """
    if "_DAGBOX_COMPLETE" in os.environ:
        cli.main(prog_name="dagbox")
    if arguments is None:
        prepare_standard_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    try:
        return _run(words)
    except BrokenPipeError:
        # The reader of our output has closed it. What is still buffered must not fail again at exit.
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
        return report_error(error)
