"""`dagbox lock`, `locks` and `release`: hold a lock while a command runs, list locks, force a release."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from dagbox.commands.fences import TOKEN_VARIABLE
from dagbox.commands.options import (
    DURATION,
    confirm,
    format_option,
    open_database,
    target_argument,
    target_option,
    timeout_option,
    yes_option,
)
from dagbox.commands.output import Column, print_json, print_rows
from dagbox.errors import LeaseLost
from dagbox.text.durations import format_duration
from dagbox.text.streams import note, print_line, report

if TYPE_CHECKING:
    from dagbox.client import Lease

KEYS_VARIABLE = "DAGBOX_LOCK_KEYS"
LONGEST_WAIT_S = 86_400.0
"""Wait of `dagbox lock` without --wait, in seconds: the longest that the lock service allows."""
GRACE_S = 5.0
"""Seconds from SIGTERM to SIGKILL for a command that lost its lock."""
NOT_FOUND, NOT_EXECUTABLE = 127, 126
_POLL_S = 0.1
_PR_SET_PDEATHSIG = 1
"""The number of that operation of prctl(2)."""


class _LockCommand(click.Command):
    """A command whose arguments are the keys before `--` and the command line after it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split the command line off before anything is parsed: its options are its own."""
        end = args.index("--") if "--" in args else len(args)
        ctx.meta["dagbox.lock.command"] = args[end + 1 :]
        if end == len(args) - 1:
            raise click.UsageError("there is no command after --", ctx)
        return super().parse_args(ctx, args[:end])


@click.command("lock", cls=_LockCommand, short_help="hold a lock while a command runs")
@click.argument("keys", nargs=-1, required=True, metavar="KEY... [-- COMMAND...]")
@click.option(
    "--ttl", type=DURATION, default="10s", show_default=True, metavar="TIME", help="How long the lease lives."
)
@click.option(
    "--wait", type=DURATION, metavar="TIME", help="How long to wait for the lock.  [default: until it is granted]"
)
@click.option("--shared", is_flag=True, help="Share the lock with other shared holders.")
@click.option("--owner", metavar="NAME", help="The name that others see as its holder.  [default: host and process]")
@target_option
@format_option
def lock(
    keys: tuple[str, ...],
    ttl: float,
    wait: float | None,
    shared: bool,
    owner: str | None,
    target: str | None,
    output: str,
) -> int:
    """Hold a lock while a command runs, and return the command's exit status.

    Several KEYs are locked all together or not at all. The lease is renewed while the command runs, and released
    when it ends. The command's environment has DAGBOX_LOCK_TOKEN, the fencing token; DAGBOX_LOCK_KEYS, the keys,
    one a line; and DAGBOX_URL. A write with --fence KEY carries the token, and is refused once a later holder has
    the lock.

    If the lease is lost (the node was away for longer than its time to live, or an operator released the lock),
    the command is sent SIGTERM, and SIGKILL 5 s later; the exit status is 1. If the lock is not granted within
    --wait, the command does not run, and the exit status is 1 too. 127: no such command; 128 + N: the command
    was ended by signal N. If `dagbox lock` itself is killed, so is the command.

    Without a command the lock is held until Ctrl-C, and the token is printed.
    """
    command: list[str] = click.get_current_context().meta["dagbox.lock.command"]
    with ExitStack() as stack:
        db = stack.enter_context(open_database(target, create=True))
        locking = db.lock(*keys, ttl=ttl, wait=LONGEST_WAIT_S if wait is None else wait, shared=shared, owner=owner)
        lease = stack.enter_context(locking)
        if not command:
            _hold(lease, output)
            return 0
        environment = os.environ | {
            TOKEN_VARIABLE: str(lease.token),
            KEYS_VARIABLE: "\n".join(lease.keys),
            "DAGBOX_URL": db.address,
        }
        return _run(command, environment, lease)


def _hold(lease: Lease, output: str) -> None:
    """Print what is held, and wait for a signal.

    Raises:
        LeaseLost: the lease was lost meanwhile.
    """
    ended = threading.Event()
    # Before anything is printed: its reader may send the signal at once.
    with _Signals({number: lambda _: ended.set() for number in (signal.SIGINT, signal.SIGTERM)}):
        if output == "json":
            print_json({"keys": list(lease.keys), "token": lease.token, "owner": lease.owner, "shared": lease.shared})
        else:
            print_line(f"{', '.join(lease.keys)}  token {lease.token}")
        sys.stdout.flush()
        note("held until Ctrl-C")
        while not ended.wait(_POLL_S):
            if lease.lost or lease.left <= 0:
                raise LeaseLost(lease.keys[0], lease.token)


def _run(command: list[str], environment: dict[str, str], lease: Lease) -> int:
    """Run the command as long as the lease is held, and return its exit status as a shell does.

    Raises:
        LeaseLost: the lease was lost while it ran; it has ended.
    """
    relay = _Relay()
    # Ctrl-C reaches the command too, which decides what it means; SIGTERM and SIGHUP are passed on.
    with _Signals({signal.SIGINT: lambda _: None, signal.SIGTERM: relay.forward, signal.SIGHUP: relay.forward}):
        try:
            child = subprocess.Popen(command, env=environment, preexec_fn=_dies_with_this_process())
        except FileNotFoundError:
            report(f"no command {command[0]!r}")
            return NOT_FOUND
        except OSError as error:
            report(f"cannot run {command[0]!r}: {error.strerror}")
            return NOT_EXECUTABLE
        relay.start(child)
        while True:
            try:
                status = child.wait(_POLL_S)
                break
            except subprocess.TimeoutExpired:
                pass
            if lease.lost or lease.left <= 0:
                note(f"dagbox: the lock {lease.keys[0]} was lost: ending {command[0]}")
                _end(child)
                raise LeaseLost(lease.keys[0], lease.token)
    return 128 - status if status < 0 else status


class _Relay:
    """Forwards signals to the command; those that come before it runs are sent when it starts."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._pending: list[int] = []

    def start(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        for number in self._pending:
            child.send_signal(number)

    def forward(self, number: int) -> None:
        if self._child is None:
            self._pending.append(number)
        else:
            self._child.send_signal(number)


def _dies_with_this_process() -> Callable[[], None]:
    """Return what a child does before it becomes the command: from then on it is killed when this process ends.

    By SIGKILL, since nobody is left to see that it ends on a gentler one before the lease does.
    """
    import ctypes

    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it ended before the system was told

    return prepare


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class _Signals:
    """Installs signal handlers while a block runs."""

    def __init__(self, handlers: dict[int, Callable[[int], None]]) -> None:
        self._handlers = handlers
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        def adapted(handler: Callable[[int], None]) -> Callable[[int, FrameType | None], None]:
            def on_signal(number: int, frame: FrameType | None) -> None:
                handler(number)

            return on_signal

        for number, handler in self._handlers.items():
            self._before[number] = signal.signal(number, adapted(handler))

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@click.command("locks", short_help="list locks, their holders and who waits for them")
@target_argument
@timeout_option
@format_option
def locks(target: str | None, timeout: float, output: str) -> None:
    """List the locks: who holds each, for how long still, and who waits for it."""
    with open_database(target, timeout=timeout) as db:
        rows = [info._asdict() for info in db.locks()]
    columns = [
        Column("key", "key"),
        Column("owner", "owner"),
        Column("token", "token"),
        Column("shared", lambda row: "shared" if row["shared"] else ""),
        Column("left", "left_s", format_duration),
        Column("waiting", "waiting", lambda value: ", ".join(waiter["owner"] for waiter in value)),
    ]
    print_rows(output, rows, columns, empty="no locks are held")


@click.command("release", short_help="force the release of a lock")
@click.argument("key", metavar="KEY")
@yes_option
@target_option
@timeout_option
def release(key: str, yes: bool, target: str | None, timeout: float) -> int:
    """Release a lock whoever holds it.

    The holder is not stopped; its writes with its token are refused once the next holder has the lock. Exit status
    1 if nobody holds the key.
    """
    with open_database(target, timeout=timeout) as db:
        holders = [info.owner for info in db.locks() if info.key == key and info.token]
        if not holders:
            report(f"nobody holds {key}")
            return 1
        confirm(f"Take {key} away from {', '.join(holders)}?", yes)
        db.release(key, force=True)
    note(f"{key} released")
    return 0
