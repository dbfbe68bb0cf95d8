"""`dagbox shell`: the arguments of the shell, which is imported when the command runs."""

from __future__ import annotations

import click

from dagbox.commands.options import target_argument
from dagbox.shell.grammar.command_spec import FORMATS
from dagbox.shell.render.palette import ENVIRONMENT_COLOURS


@click.command("shell", short_help="explore a database by commands")
@target_argument
@click.option(
    "-c", "--command", "commands", multiple=True, metavar="TEXT", help="Run this command and exit; repeatable."
)
@click.option(
    "--format",
    "result_format",
    type=click.Choice(FORMATS),
    help="How results are shown.  [default: tree and table for people, json for programs]",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask before destructive commands.")
@click.option("--read-only", is_flag=True, help="Refuse commands that write.")
@click.option(
    "--keep-going", "-k", is_flag=True, help="Continue after a command that fails; the exit status is still 1."
)
@click.option("--label", metavar="TEXT", help="Text before the prompt, such as PRODUCTION.")
@click.option("--colour", type=click.Choice(ENVIRONMENT_COLOURS), help="The colour of the label and the prompt.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="How long a request may take."
)
def shell_command(
    target: str | None,
    commands: tuple[str, ...],
    result_format: str | None,
    yes: bool,
    read_only: bool,
    keep_going: bool,
    label: str | None,
    colour: str | None,
    timeout: float | None,
) -> int:
    """Explore and change a database by commands: records and their relations, locks, facts, rules, queries.

    Connects to the node of a directory or URL; if no node serves the directory, opens the directory itself. Commands
    come from the terminal, from -c, or from standard input.

    \b
    dagbox shell data
    dagbox shell data -c 'get user/ada { team: via team }' --format json
    dagbox shell data --read-only < commands.txt

    Settings and environments (label, colour, read-only by address) are read from shell.toml in the configuration
    directory; `help` in the shell shows the commands.
    """
    from dagbox.shell.main import run_shell

    return run_shell(
        target,
        commands=commands,
        result_format=result_format,
        yes=yes,
        read_only=read_only,
        keep_going=keep_going,
        label=label,
        colour=colour,
        timeout_s=timeout,
    )
