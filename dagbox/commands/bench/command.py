"""`dagbox bench`: put load on a database, measure it, and compare runs."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dagbox.commands.options import DURATION, format_option
from dagbox.settings import DURABILITIES
from dagbox.text.files import path_of
from dagbox.text.streams import note, print_line
from dagbox.text.terminal import is_dumb, truncate

if TYPE_CHECKING:
    from dagbox.bench.load.latencies import Latencies
    from dagbox.bench.load.outcome import Outcome
    from dagbox.bench.load.plan import Plan

INTERRUPTED = 130
_WORKLOADS = "get|fetch|scan|put|batch|mixed|lock|query|call|FILE.py"


@click.group("bench", invoke_without_command=True, short_help="measure how fast a database is, and compare")
@click.option("--at", "-d", "at", metavar="DIR|URL", help="The database.  [default: a node of its own]")
@click.option("--embedded", is_flag=True, help="Open a directory in the load's own processes, without a node.")
@click.option("--through-broker", is_flag=True, help="Send reads through the broker, as from another machine.")
@click.option("--workload", "-w", default="get", show_default=True, metavar=_WORKLOADS, help="What to do.")
@click.option("--clients", type=click.IntRange(1, 1000), default=1, show_default=True, metavar="N", help="Connections.")
@click.option(
    "--in-flight",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    metavar="N",
    help="Requests that each has in flight.",
)
@click.option(
    "--size",
    type=click.IntRange(32, 1 << 24),
    default=200,
    show_default=True,
    metavar="BYTES",
    help="Bytes of a record's data, packed.",
)
@click.option(
    "--keys", type=click.IntRange(1, 10**8), default=10_000, show_default=True, metavar="N", help="How many records."
)
@click.option(
    "--distribution",
    type=click.Choice(["zipf", "uniform"]),
    default="zipf",
    show_default=True,
    help="A few records far more often than others, or all alike.",
)
@click.option(
    "--reads", type=click.FloatRange(0, 1), default=0.9, show_default=True, metavar="SHARE", help="Reads of mixed."
)
@click.option("--duration", type=DURATION, default=10.0, metavar="TIME", help="How long, such as 10s.  [default: 10s]")
@click.option(
    "--rate",
    type=click.FloatRange(0, 10**7),
    default=0.0,
    metavar="N",
    help="Requests to begin a second, by all together.  [default: as fast as they are answered]",
)
@click.option("--seed", type=int, default=1, show_default=True, metavar="N", help="Of the random choices.")
@click.option(
    "--durability",
    type=click.Choice(DURABILITIES),
    default="full",
    show_default=True,
    help="Of what the run makes or opens.",
)
@click.option("--bucket", metavar="NAME", help="Read the records of this bucket as they are: get, fetch or scan.")
@click.option("--read-only", is_flag=True, help="Refuse all that would write to the database; needs --bucket.")
@click.option(
    "--save", type=click.Path(dir_okay=False), metavar="FILE", help="Write the run to a file, to compare with."
)
@click.option(
    "--compare",
    "compared",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Compare with saved runs; may be repeated.",
)
@format_option
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
@click.pass_context
def bench(ctx: click.Context, /, output: str, as_json: bool, **options: Any) -> int | None:
    """Put load on a database, and print how many requests it answers and how long they take.

    Without --at a node is started in a temporary directory (TMPDIR says where), and removed. In a database that is
    there the run works in buckets of its own, dagbox-bench and dagbox-bench-lists, and empties them afterwards.

    FILE.py is a workload of your own: run(db, number) makes one request (an async function if --in-flight is more
    than 1); setup(db) and teardown(db) are optional.

    With --rate latencies count from the moment at which a request was meant to start, so that a pause of the database
    counts for every request that it held up. Ctrl-C ends a run with what was measured so far.
    """
    if ctx.invoked_subcommand is not None:
        return None
    plan = _plan(ctx, **options)
    compared = [read_run(name) for name in options["compared"]]
    with _terminated_as_interrupted():
        outcome = _measure(plan, options)
    if options["save"]:
        _save(outcome, options["save"])
    if as_json or output == "json":
        print_line(json.dumps(outcome.as_map()))
    else:
        _print(outcome, compared)
    return INTERRUPTED if outcome.interrupted else 0 if outcome.done else 1


def _plan(ctx: click.Context, **options: Any) -> Plan:
    """Return the plan that the options tell.

    Raises:
        click.UsageError: they do not go together.
    """
    from dagbox.bench.load.plan import BUCKET, CUSTOM, READING, WORKLOADS, Plan

    workload = options["workload"]
    custom = workload if workload.endswith(".py") else ""
    if not custom and workload not in WORKLOADS:
        raise click.UsageError(f"no workload {workload!r}: {_WORKLOADS}", ctx)
    bucket = options["bucket"]
    if (bucket or options["read_only"]) and (custom or workload not in READING):
        why = "--read-only" if options["read_only"] else "--bucket, whose records stay as they are"
        raise click.UsageError(f"{workload} writes, which does not go with {why}: choose get, fetch or scan", ctx)
    if options["read_only"] and not bucket:
        raise click.UsageError("--read-only makes no records: name some with --bucket", ctx)
    if bucket and options["at"] is None:
        raise click.UsageError("--bucket is of a database that is there: name it with --at", ctx)
    if options["embedded"] and (workload == "call" or options["through_broker"] or "://" in (options["at"] or "")):
        what = "call" if workload == "call" else "--through-broker" if options["through_broker"] else "an address"
        raise click.UsageError(f"{what} needs a node: leave out --embedded", ctx)
    plan = Plan(
        workload=CUSTOM if custom else workload,
        custom=custom,
        clients=options["clients"],
        in_flight=options["in_flight"],
        size=options["size"],
        keys=options["keys"],
        distribution=options["distribution"],
        duration_s=options["duration"],
        rate=options["rate"],
        reads=options["reads"],
        seed=options["seed"],
        bucket=bucket or BUCKET,
        own=not bucket,
    )
    _check_custom(ctx, plan)
    return plan


def _check_custom(ctx: click.Context, plan: Plan) -> None:
    from dagbox.bench.load.custom import CustomWork

    if not plan.duration_s > 0:
        raise click.UsageError("--duration must be more than 0", ctx)
    if plan.custom and CustomWork.load(plan.custom).awaits != (plan.in_flight > 1):
        must = "must be an async function with --in-flight" if plan.in_flight > 1 else "is async: give --in-flight"
        raise click.UsageError(f"run of {plan.custom} {must}", ctx)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Have SIGTERM end the block as Ctrl-C does: what the run has made must be removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _measure(plan: Plan, options: dict[str, Any]) -> Outcome:
    from dagbox.bench.load.run import measure
    from dagbox.bench.load.target import open_target, records_of

    durability: Literal["full", "process"] = options["durability"]
    direct = not options["through_broker"]
    notes: list[str] = []
    outcome = None
    try:
        with (
            open_target(options["at"], embedded=options["embedded"], direct=direct, durability=durability) as target,
            records_of(target, plan, notes.append) as doable,
        ):
            outcome = measure(doable, target.side, target.words, live_printer())
    finally:
        _clear_line()
        if outcome is None:
            for each in notes:
                note(each)
    outcome.notes += notes
    return outcome


def live_printer() -> Callable[[float, Latencies, Counter[str]], None] | None:
    """Return what shows a run while it goes on: one line that is written again; None if nobody would see it."""
    if not sys.stderr.isatty() or is_dumb():
        return None

    def show(at: float, latencies: Latencies, errors: Counter[str]) -> None:
        from dagbox.bench.load.picture import live_line
        from dagbox.bench.load.slots import WINDOW_S

        line = live_line(at, latencies, sum(errors.values()), WINDOW_S)
        # A line that goes on in the next one could not be cleared.
        sys.stderr.write(f"\r\x1b[2K{truncate(line, shutil.get_terminal_size().columns - 1)}")
        sys.stderr.flush()

    return show


def _clear_line() -> None:
    if sys.stderr.isatty() and not is_dumb():
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


def _print(outcome: Outcome, compared: list[Outcome]) -> None:
    from dagbox.bench.load.picture import report

    for line in report(outcome, unicode=shows_blocks()):
        print_line(line)
    if compared:
        print_line("")
        _print_differences(compared, outcome)


def _print_differences(before: list[Outcome], now: Outcome) -> None:
    from dagbox.bench.load.compare import compare, other_work
    from dagbox.bench.load.picture import difference_table

    for line in [*difference_table(compare(before, now)), *other_work(before, now)]:
        print_line(line)


def shows_blocks() -> bool:
    """Return True if standard output can show bars of blocks."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" and not is_dumb()


def _save(outcome: Outcome, name: str) -> None:
    path_of(name).write_text(json.dumps(outcome.as_map()) + "\n", encoding="utf-8")


def read_run(name: str) -> Outcome:
    """Return a run that `--save` wrote.

    Raises:
        InvalidArgument: the file is none.
    """
    from dagbox.bench.load.outcome import Outcome
    from dagbox.errors import InvalidArgument

    try:
        data = json.loads(Path(name).read_text(encoding="utf-8"))
    except ValueError:
        raise InvalidArgument(f"{name} is no run that dagbox bench --save wrote") from None
    return Outcome.from_map(data, name)


@bench.command("compare", short_help="compare saved runs")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False), metavar="FILE FILE...")
@format_option
def compare_command(files: tuple[str, ...], output: str) -> None:
    """Compare the last of some saved runs with those before it.

    With one earlier run a difference is called noise if the runs' windows could be mixed up; with several of the same
    work, if it is not larger than the differences among those.
    """
    if len(files) < 2:
        raise click.UsageError("give two runs at least: earlier ones, and the one to judge")
    *before, now = [read_run(name) for name in files]
    if output == "json":
        from dagbox.bench.load.compare import compare

        for each in compare(before, now):
            print_line(json.dumps(asdict(each) | {"change": each.change}))
        return
    _print_differences(before, now)
