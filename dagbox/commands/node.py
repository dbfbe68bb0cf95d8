"""`dagbox up`, `restart`, `drain` and `add`: run a node, and what an operator does to its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dagbox.commands.options import (
    confirm,
    directory_of,
    open_database,
    settings,
    target_option,
    timeout_option,
    yes_option,
)
from dagbox.problems import acts
from dagbox.settings import DURABILITIES, MOST_WORKERS
from dagbox.text.streams import note

if TYPE_CHECKING:
    from dagbox import Database
    from dagbox.runtime.supervisor import NodeSettings, Supervisor

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
    help="Listen on this address too, such as tcp://127.0.0.1:7000; may be repeated.",
)
@click.option("--insecure", is_flag=True, help="Allow unencrypted TCP beyond this machine.")
@click.option(
    "--durability",
    type=click.Choice(DURABILITIES),
    help='"full": acknowledged writes are on disk; "process": they survive kill -9, not power loss.  [default: full]',
)
@click.option("--headless", is_flag=True, help="Show no dashboard, even in a terminal: log to standard error.")
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

    A process that dies is restarted. Ctrl-C or SIGTERM stops the node: it finishes requests in flight, within 5 s.
    A directory has at most one node; other programs find it by the directory, as in `dagbox shell DIR`.
    """
    from dagbox.commands.dashboard import run_with_dashboard, stop_with_standard_input, wants_dashboard
    from dagbox.runtime.process import start_logging
    from dagbox.runtime.supervisor import run_node

    path = directory_of(directory)
    chosen = node_settings(readers, logic, listen, insecure, durability)
    if wants_dashboard(headless):
        return run_with_dashboard(path, _flags(chosen))
    if attached:
        stop_with_standard_input()
    start_logging()
    return run_node(path, settings=chosen, on_ready=_announce)


def _flags(chosen: NodeSettings) -> list[str]:
    """Return the flags of `dagbox up` for these settings."""
    flags = ["--readers", str(chosen.readers), "--logic", str(chosen.logic), "--durability", chosen.durability]
    listen = [part for address in chosen.listen for part in ("--listen", address)]
    return [*flags, *listen, *(["--insecure"] if chosen.insecure else [])]


def node_settings(
    readers: int | None,
    logic: int | None,
    listen: tuple[str, ...],
    insecure: bool = False,
    durability: str | None = None,
) -> NodeSettings:
    """Return the settings of a node: flags where they are given, else the configured settings."""
    from dagbox.runtime.supervisor import NodeSettings

    configured = settings()
    return NodeSettings(
        readers=configured.readers if readers is None else readers,
        logic=configured.logic if logic is None else logic,
        listen=listen or configured.listen,
        insecure=insecure,
        durability=durability or configured.durability,
    )


def _announce(node: Supervisor) -> None:
    note(f"dagbox: serving {node.directory}; try: dagbox status {node.directory}  or  dagbox shell {node.directory}")


def _node(db: Database) -> acts.Node:
    return acts.Node(db.workers(), db.services())


@click.command("restart", short_help="start the process of a worker anew")
@click.argument("worker", metavar="WORKER")
@yes_option
@target_option
@timeout_option
def restart(worker: str, yes: bool, target: str | None, timeout: float) -> None:
    """Start the process of a worker anew; it finishes what it has in hand first.

    A worker that was drained, or is given up, starts too.
    """
    with open_database(target, timeout=timeout) as db:
        confirm(f"Restart worker {worker}? {acts.restart(_node(db), worker)}", yes)
        db.call("node", {"op": "restart", "worker": worker})
    note(f"{worker} restarts")


@click.command("drain", short_help="have a worker finish what it has in hand, and leave")
@click.argument("worker", metavar="WORKER")
@yes_option
@target_option
@timeout_option
def drain(worker: str, yes: bool, target: str | None, timeout: float) -> None:
    """Have a worker finish what it has in hand, and leave.

    Of its requests none is lost. `dagbox add WORKER` brings it back, if the node started it.
    """
    with open_database(target, timeout=timeout) as db:
        confirm(f"Drain worker {worker}? {acts.drain(_node(db), worker, f'dagbox add {worker}')}", yes)
        db.control("drain", worker=worker)
    note(f"{worker} drains")


@click.command("add", short_help="start one more reader, or a worker that was drained")
@click.argument("worker", metavar="WORKER")
@target_option
@timeout_option
def add(worker: str, target: str | None, timeout: float) -> None:
    """Start one more reader (`dagbox add reader`), or a worker that was drained."""
    with open_database(target, timeout=timeout) as db:
        found = db.call("node", acts.start(_node(db), worker))
    note(f"{found if isinstance(found, str) else worker} starts")
