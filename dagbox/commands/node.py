"""Running a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dagbox.commands.options import directory_of, settings
from dagbox.commands.output import note
from dagbox.config.settings import DURABILITIES, MOST_WORKERS

if TYPE_CHECKING:
    from dagbox.runtime.node import Node, NodeSettings

readers_option = click.option(
    "--readers", type=click.IntRange(1, MOST_WORKERS), metavar="N", help="How many readers.  [default: 2]"
)
logic_option = click.option(
    "--logic", type=click.IntRange(0, MOST_WORKERS), metavar="N", help="How many logic workers.  [default: 1]"
)


@click.command("up", short_help="run a node: a broker and its workers")
@click.argument("directory", metavar="[DIR]", required=False)
@readers_option
@logic_option
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="Listen there too, such as tcp://127.0.0.1:7000; may be repeated.",
)
@click.option("--insecure", is_flag=True, help="Allow plain TCP beyond this machine.")
@click.option(
    "--durability",
    type=click.Choice(DURABILITIES),
    help='"full": what is acknowledged is on disk; "process": it survives kill -9, not power loss.  [default: full]',
)
@click.option("--headless", is_flag=True, help="No dashboard, also where there is a terminal for it: log what happens.")
@click.option("--attached", is_flag=True, hidden=True)
def up(
    directory: str | None,
    readers: int | None,
    logic: int | None,
    listen: tuple[str, ...],
    insecure: bool,
    durability: str | None,
    headless: bool,
    attached: bool,
) -> int:
    """Run a node on a directory: a broker, a writer, a lock worker, readers and logic workers, each a process.

    In a terminal the dashboard is shown, the node logs to DIR/node.log, and leaving the dashboard ends the node.

    A process that dies is started again. Ctrl-C or SIGTERM ends the node: it finishes what it has begun, within
    5 s. There is one node to a directory; other programs find it by the directory, as in `dagbox shell DIR`.
    """
    from dagbox.commands.dashboard import end_with_standard_input, run_with_dashboard, wanted
    from dagbox.runtime.node import run_node
    from dagbox.runtime.process import start_logging

    where = directory_of(directory)
    made = node_settings(readers, logic, listen, insecure, durability)
    if wanted(headless):
        return run_with_dashboard(where, _arguments_of(made))
    if attached:
        end_with_standard_input()
    start_logging()
    return run_node(where, settings=made, on_ready=_say_ready)


def _arguments_of(made: NodeSettings) -> list[str]:
    """The flags of `dagbox up` that give these settings."""
    numbers = ["--readers", str(made.readers), "--logic", str(made.logic), "--durability", made.durability]
    listen = [part for address in made.listen for part in ("--listen", address)]
    return [*numbers, *listen, *(["--insecure"] if made.insecure else [])]


def node_settings(
    readers: int | None,
    logic: int | None,
    listen: tuple[str, ...],
    insecure: bool = False,
    durability: str | None = None,
) -> NodeSettings:
    """What a node runs: the flags where they are given, else the settings."""
    from dagbox.runtime.node import NodeSettings

    base = settings()
    return NodeSettings(
        readers=base.readers if readers is None else readers,
        logic=base.logic if logic is None else logic,
        listen=listen or base.listen,
        insecure=insecure,
        durability=durability or base.durability,
    )


def _say_ready(node: Node) -> None:
    note(f"dagbox: serving {node.directory}; try: dagbox status {node.directory}  or  dagbox shell {node.directory}")
