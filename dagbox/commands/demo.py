"""`dagbox demo`: run a node on sample data."""

from __future__ import annotations

import os

import click

from dagbox.commands.node import logic_option, node_settings, readers_option
from dagbox.commands.options import DURATION
from dagbox.text.streams import note


@click.command("demo", short_help="run a node on real data, with gentle traffic")
@click.argument("directory", metavar="[DIR]", required=False)
@readers_option
@logic_option
@click.option(
    "--rate", type=click.FloatRange(0, 10_000), default=40.0, show_default=True, metavar="R", help="Requests a second."
)
@click.option(
    "--for", "for_s", type=DURATION, metavar="TIME", help="Stop after this long, such as 30s.  [default: Ctrl-C]"
)
@click.option("--no-traffic", is_flag=True, help="Load the data and serve it, without requests of its own.")
@click.option(
    "--seed", type=int, default=1, show_default=True, metavar="N", help="The seed of the traffic's random choices."
)
@click.option("--headless", is_flag=True, help="Show no dashboard, even in a terminal.")
@click.option("--verbose", "-v", is_flag=True, help="Log what the node does.")
def demo(
    directory: str | None,
    readers: int | None,
    logic: int | None,
    rate: float,
    for_s: float | None,
    no_traffic: bool,
    seed: int,
    headless: bool,
    verbose: bool,
) -> int:
    """Run a node on real data, with gentle traffic: something to look at.

    The data are the Python distributions installed on this machine: packages, their requirements, modules and
    authors, as records that link to each other. They are loaded into DIR, or into your user data directory;
    loading again writes only what has changed. The command shows what to type in another terminal. Ctrl-C stops it.
    """
    from dagbox.commands.dashboard import open_on_enter, wants_dashboard
    from dagbox.demo.run import Demo, DemoSettings
    from dagbox.runtime.process import start_logging

    if not verbose:
        os.environ.setdefault("DAGBOX_LOG", "warning")
    start_logging()
    path = directory or default_directory()
    settings = DemoSettings(rate=0.0 if no_traffic else rate, for_s=for_s, seed=seed)
    on_terminal = (lambda stopping: open_on_enter(path, stopping)) if wants_dashboard(headless) else None
    return Demo(path, node_settings(readers, logic, ()), settings, note, on_terminal).run()


def default_directory() -> str:
    """Return the directory of the demo's data in the user data directory."""
    from platformdirs import user_data_path

    return str(user_data_path("dagbox", appauthor=False) / "demo")
