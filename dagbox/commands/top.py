"""`dagbox top`: the dashboard as a command."""

from __future__ import annotations

import os
from importlib import import_module

import click

from dagbox.commands.dashboard import can_show_dashboard, tell_of_standard_error
from dagbox.commands.options import default_target, target_argument


@click.command("top")
@target_argument
@click.option("--read-only", is_flag=True, help="Refuse every action that changes something, and the shell.")
@click.option(
    "--refresh", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds from poll to poll."
)
@click.option(
    "--env",
    "environment",
    envvar="DAGBOX_ENV",
    metavar="NAME[=COLOUR]",
    help="What the node is for, shown on a badge: prod is red, staging amber, test blue, dev green.",
)
@click.option("--theme", envvar="DAGBOX_THEME", help="The theme to start with; the palette (:) lists them.")
@click.option("--record", type=click.Path(dir_okay=False), metavar="FILE", help="Record every poll to a new file.")
@click.option(
    "--replay", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Show a recording instead of a node."
)
@click.option("--speed", type=click.FloatRange(0.125, 1024), default=1.0, help="Replay this many times faster.")
@click.option("--web", is_flag=True, help="Serve the dashboard to browsers on this machine.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="The port of --web.")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), metavar="PORT", help="Serve metrics to Prometheus on loopback."
)
@click.option("--headless", is_flag=True, help="With --record or --metrics-port: run without a screen.")
def top_command(
    target: str | None,
    read_only: bool,
    refresh: float,
    environment: str | None,
    theme: str | None,
    record: str | None,
    replay: str | None,
    speed: float,
    web: bool,
    port: int,
    metrics_port: int | None,
    headless: bool,
) -> int:
    """Watch a node live: queues, workers, traces, store, locks, logic.

    With --replay a recording is shown instead of a node; with --web the dashboard is served to browsers on this
    machine. ? in the dashboard shows its keys.
    """
    from dagbox.tui.options import Options

    if replay and (record or metrics_port is not None or target):
        raise click.UsageError("a replay is of a file: it goes with no node, --record or --metrics-port")
    if headless and (web or replay or not (record or metrics_port is not None)):
        raise click.UsageError("--headless goes with --record or --metrics-port alone")
    if web and (record or metrics_port is not None):
        raise click.UsageError("--web goes with no --record or --metrics-port: give these to a second, --headless run")
    node = None if replay else target or default_target()
    from dagbox.tui.display.environment import Environment

    try:
        Environment.parse(environment or "")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    options = Options(
        target=node,
        read_only=read_only,
        refresh_s=refresh,
        environment=environment or "",
        theme=theme or "",
        record=record,
        replay=replay,
        speed=speed,
        metrics_port=metrics_port,
    )
    if web:
        from dagbox.errors import requires_extra

        with requires_extra("the dashboard in a browser", "web"):
            from dagbox.tui.web import serve

        return serve(options, port)
    if metrics_port is not None:
        import_module("dagbox.prometheus")  # a missing extra is an error before the screen appears
    if headless:
        from dagbox.tui.headless import run_headless

        return run_headless(options)
    if not can_show_dashboard() and "TEXTUAL_DRIVER" not in os.environ:
        tell_of_standard_error()
        raise click.UsageError(
            "the dashboard needs a terminal that moves its cursor (TERM is not dumb), as standard output and as "
            "standard error: use dagbox status, or --web"
        )
    from dagbox.tui.app import run_dashboard

    return run_dashboard(options)
