"""One component as a process: `dagbox broker` and `dagbox worker SERVICE`.

A supervised process reads its standard input only to see it end, which tells that its supervisor has died.
"""

from __future__ import annotations

import logging
import os
import platform
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from copy import copy
from types import FrameType

import click

from dagbox.broker.model import BrokerLimits
from dagbox.errors import BadSetting, DagBoxError, InvalidArgument, StoreBroken, StoreUnavailable
from dagbox.errors.reporting import DONE, FAILED, INTERRUPTED, report_error
from dagbox.text.files import make_private_directory
from dagbox.text.streams import prepare_standard_streams
from dagbox.text.terminal import printable

log = logging.getLogger("dagbox.process")

SWITCH_S = 0.0005
"""How long a thread of a logic worker computes before one that waits gets its turn: that which takes requests in must
not wait ten times as long for each of its steps. Few change places, since long queries compute one at a time."""
SERVICES = ("reader", "writer", "lock", "logic")
EXIT_DRAINED = 10
"""The exit status of a worker that an operator drained: its supervisor does not start it again."""
EXIT_BROKEN = 11
"""The exit status of a worker whose store has to be opened again."""
_HANDOVER_S = 5.0
_OWN_DESCRIPTORS = 256
"""Descriptors of a broker that are not clients: workers, listeners, files, what libzmq needs for itself."""


def log_level() -> int:
    """Return the level that DAGBOX_LOG names; info if it is empty.

    Raises:
        BadSetting: there is no such level.
    """
    text = os.environ.get("DAGBOX_LOG", "")
    level = logging.getLevelNamesMapping().get(text.upper()) if text else logging.INFO
    if level is None:
        reason = "it is debug, info, warning, error or critical"
        raise BadSetting("DAGBOX_LOG", text, reason, "the environment")
    return level


class LogFormatter(logging.Formatter):
    """Date and time, level, message: what others wrote cannot command a terminal, nor look like a line of its own.

    A message is one line; only the lines of a traceback are more, each indented.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and those of the traceback if there is one."""
        record = copy(record)  # other handlers get it as it is
        record.msg, record.args = printable(record.getMessage()), None
        first, *traceback = super().format(record).split("\n")
        return "\n".join([printable(first), *(f"  {printable(line)}" for line in traceback)])


def start_logging() -> None:
    """Log to standard error, see `LogFormatter`; also what ends a thread.

    Raises:
        BadSetting: DAGBOX_LOG names no level.
    """
    level = log_level()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_thread


def _log_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "unknown"
    error = ended.exc_value
    log.error("process %d: the thread %s failed", os.getpid(), name, exc_info=error)


OF_TERMINALS = frozenset((signal.SIGINT, signal.SIGHUP))
"""What a terminal tells the whole group of processes, the supervisor among it, which starts the others with these
blocked: before they listen to signals, one would end them with a traceback."""


def on_stop_signals(stop: Callable[[], None], *, supervised: bool) -> None:
    """Have SIGTERM (and SIGINT and SIGHUP, unless a supervisor sees to those) call `stop`."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop()

    signal.signal(signal.SIGTERM, on_signal)
    for number in OF_TERMINALS:
        signal.signal(number, signal.SIG_IGN if supervised else on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_TERMINALS)


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files of this process to the hard one; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.warning("cannot raise the limit of %d open files: %s", soft, error)
            return soft
    return hard


def client_limit(descriptors: int) -> int:
    """Return the number of clients that a broker serves with so many descriptors; each takes one."""
    most = BrokerLimits().clients
    if descriptors == resource.RLIM_INFINITY or descriptors >= most + _OWN_DESCRIPTORS:
        return most
    few = max(descriptors - _OWN_DESCRIPTORS, descriptors // 2)
    log.warning("broker: %d open files allow %d clients; raise the hard limit (ulimit -Hn) for more", descriptors, few)
    return few


def run_broker(
    listen: tuple[str, ...],
    data: str | None,
    *,
    insecure: bool = False,
    supervised: bool = False,
    expected: tuple[str, ...] = (),
    identity: tuple[int, int] | None = None,
) -> int:
    """Run a broker until it is told to stop; the exit status.

    Args:
        expected: services that workers are about to register, so that requests for them wait.
        identity: device and inode of the data file that the node serves; None: whatever is there.
    """
    from dagbox.runtime.broker_loop import BrokerLoop
    from dagbox.runtime.filelock import RoleLock
    from dagbox.runtime.local_reads import LocalReads
    from dagbox.transport.address import remove_node_file, socket_address, write_node_file
    from dagbox.transport.direct_switch import DirectSwitch
    from dagbox.transport.sockets import check_listen

    if not listen and data is None:
        raise InvalidArgument("a broker listens somewhere: give --listen ADDRESS or --data DIR")
    for address in listen:
        check_listen(address, secure=False, insecure=insecure)
    role = None
    if data is not None:
        try:
            make_private_directory(data)
        except OSError as error:
            raise StoreUnavailable(data, error.strerror or str(error)) from None
        role = RoleLock.take(data, "broker", wait_s=_HANDOVER_S)
        listen = (socket_address(data), *listen)
    try:
        limits = BrokerLimits(clients=client_limit(raise_descriptor_limit()))
        parent = sys.stdin.fileno() if supervised else None
        switch = DirectSwitch(data, identity) if data is not None else None
        local = LocalReads(data, time.monotonic, identity) if data is not None else None
        loop = BrokerLoop(listen, expected=expected, limits=limits, parent=parent, switch=switch, local=local)
        on_stop_signals(loop.stop, supervised=supervised)
        if data is not None and not supervised:
            write_node_file(data, loop.addresses[0])
        log.info("broker: listening on %s", ", ".join(loop.addresses))
        loop.run()
        if data is not None and not supervised:
            remove_node_file(data, loop.addresses[0])
    finally:
        if role is not None:
            role.release()
    log.info("broker: stopped")
    return 0


def run_worker(
    service: str,
    data: str,
    connect: str | None,
    name: str | None,
    *,
    durability: str,
    supervised: bool = False,
    identity: tuple[int, int] | None = None,
) -> int:
    """Run one worker until it is told to stop; the exit status.

    Args:
        identity: device and inode of the data file that the node serves; None: whatever is there, or a new one.
    """
    from dagbox.runtime.worker_loop import WorkerLoop
    from dagbox.services.assembly import open_service
    from dagbox.transport.address import resolve

    raise_descriptor_limit()
    address = resolve(connect if connect is not None else data)
    shown = name or f"{service}-{platform.node()}-{os.getpid()}"
    body = open_service(service, data, durability=durability, identity=identity)
    if service == "logic":
        sys.setswitchinterval(SWITCH_S)
    loop = WorkerLoop(body, address, shown, parent=sys.stdin.fileno() if supervised else None)
    on_stop_signals(loop.stop, supervised=supervised)
    log.info("%s: serving %s with the data in %s", shown, service, data)
    loop.run()
    if isinstance(loop.failed, StoreBroken):
        return EXIT_BROKEN
    if loop.failed is not None:
        raise loop.failed
    if loop.drained:
        log.info("%s: drained", shown)
        return EXIT_DRAINED
    log.info("%s: stopped", shown)
    return 0


@click.command("broker", short_help="Run a broker alone.")
@click.option("--listen", multiple=True, metavar="ADDRESS", help="Where to listen: ipc://PATH or tcp://HOST:PORT.")
@click.option("--data", metavar="DIR", help="Listen on the address of this directory, too.")
@click.option("--insecure", is_flag=True, help="Allow plain TCP beyond this machine.")
@click.option("--supervised", is_flag=True, hidden=True)
@click.option("--expect", multiple=True, hidden=True)
@click.option("--identity", type=(int, int), hidden=True)
def broker_command(
    listen: tuple[str, ...],
    data: str | None,
    insecure: bool,
    supervised: bool,
    expect: tuple[str, ...],
    identity: tuple[int, int] | None,
) -> None:
    """Run a broker alone, for workers and clients on several machines."""
    start_logging()
    raise SystemExit(
        run_broker(listen, data, insecure=insecure, supervised=supervised, expected=expect, identity=identity)
    )


@click.command("worker", short_help="Run one worker.")
@click.argument("service", type=click.Choice(SERVICES))
@click.option("--data", metavar="DIR", required=True, help="The directory with the data.")
@click.option("--connect", metavar="DIR|URL", help="The broker; the node of the data's directory if not given.")
@click.option("--name", help="The worker's name, unique in its service; if it is taken, the worker waits for it.")
@click.option("--durability", type=click.Choice(["full", "process"]), default="full", show_default=True)
@click.option("--supervised", is_flag=True, hidden=True)
@click.option("--identity", type=(int, int), hidden=True)
def worker_command(
    service: str,
    data: str,
    connect: str | None,
    name: str | None,
    durability: str,
    supervised: bool,
    identity: tuple[int, int] | None,
) -> None:
    """Run one worker of SERVICE against a broker."""
    start_logging()
    raise SystemExit(
        run_worker(service, data, connect, name, durability=durability, supervised=supervised, identity=identity)
    )


@click.group()
def main() -> None:
    """The components of a node, as its supervisor starts them."""


main.add_command(broker_command)
main.add_command(worker_command)


def run() -> int:
    """Run as a program: errors in one line, exit statuses as everywhere. A fault is logged with its traceback."""
    prepare_standard_streams()
    try:
        main.main(standalone_mode=False)
    except (DagBoxError, click.ClickException) as error:
        return report_error(error)
    except click.Abort:
        return INTERRUPTED
    except Exception:
        log.exception("process %d: it failed", os.getpid())
        return FAILED
    return DONE


if __name__ == "__main__":
    raise SystemExit(run())
