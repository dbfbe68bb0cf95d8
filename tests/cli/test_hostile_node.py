"""A node on which everything has a hostile name: services, workers, clients, processes, locks, records, errors."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

import dagbox
from dagbox.notation.scanner import quote
from dagbox.prometheus import serving_metrics
from dagbox.runtime.process import LogFormatter
from dagbox.runtime.worker_loop import WorkerLoop
from dagbox.services.function import FunctionService
from dagbox.shell.connection import Connection
from dagbox.shell.output import Output
from dagbox.shell.session import Shell
from dagbox.tui.headless import run_headless
from dagbox.tui.options import Options
from dagbox.tui.recording.reader import Recording
from tests.commands.conftest import Run
from tests.hostile import EVIL, assert_inert, bucket_of
from tests.runtime.nodes import until
from tests.tui.conftest import Served, replay, serving, showing
from tests.tui.screens.test_snapshots import SCREENS

KEY = f"k{EVIL}".replace("\0", "")
BUCKET = bucket_of(EVIL)
SERVICE, NOBODY = (f"{first}{EVIL}".encode()[:100].decode(errors="ignore") for first in ("s", "none"))


@dagbox.service(SERVICE)
def failing(payload: Any, request: Any) -> Any:
    """Fails with a hostile text."""
    raise ValueError(EVIL)


@pytest.fixture(scope="module")
def log() -> Iterator[io.StringIO]:
    """What the node logs, as a process of it would write it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(LogFormatter())
    logging.getLogger("dagbox").addHandler(handler)
    yield written
    logging.getLogger("dagbox").removeHandler(handler)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, log: io.StringIO) -> Iterator[Served]:
    """A node with hostile names of everything, and some requests that failed."""
    with ExitStack() as stack:
        served = stack.enter_context(serving(tmp_path_factory.mktemp("hostile") / "data"))
        served.supervisor.processes.append({"name": f"p{EVIL}", "service": SERVICE, "state": "running", "pid": 1})
        loops = [
            WorkerLoop(FunctionService(failing), served.address, f"{name}{EVIL}"[:100]) for name in ("w", "w", "v")
        ]
        threads = [threading.Thread(target=loop.run) for loop in loops]
        for thread in threads:
            thread.start()
        db = stack.enter_context(dagbox.connect(served.address, name=f"c{EVIL}"))
        for loop, thread in zip(loops, threads, strict=True):
            stack.callback(thread.join)
            stack.callback(loop.stop)
        until(lambda: any(each.live for each in db.services() if each.name == SERVICE))
        ref = db.put(BUCKET, {EVIL: EVIL, "list": [EVIL], "more": {"deep": EVIL}}, key=KEY)
        db.put(BUCKET, {"ref": ref}, key=KEY + "2")
        with suppress(dagbox.Conflict):
            db.put(BUCKET, 1, key=KEY, if_version=99)
        for _ in range(3):
            with suppress(dagbox.ServiceFailed):
                db.call(SERVICE, {EVIL: EVIL})
        with suppress(dagbox.NoService, dagbox.DeadlineExceeded):
            db.call(NOBODY, 1, timeout=0.1)
        db.lock(KEY, owner=f"me{EVIL}", ttl=600).acquire()
        yield served


COMMANDS = (
    ("status", "--clients"),
    ("services",),
    ("workers",),
    ("events", "-n", "1000"),
    ("traces", "-n", "1000"),
    ("traces", "--service", SERVICE),
    ("doctor", "--for", "0.1s"),
    ("doctor", "--for", "0.1s", "--json"),
    ("locks",),
    ("buckets",),
    ("scan", BUCKET),
    ("get", f"{BUCKET}/{KEY}"),
    ("call", SERVICE, "1"),
    ("call", NOBODY, "--timeout", "100ms"),
    ("release", KEY),
    ("lock", KEY, "--wait", "0s"),
)


def test_no_command_lets_it_through(node: Served, run: Run) -> None:
    for command in COMMANDS:
        words = [word.replace("\0", "") for word in command]
        for more in ([], [] if command[0] in ("doctor", "call", "release") else ["--format", "json"]):
            ended = run(*words, "--at", node.address, *more)
            assert_inert(ended.out + ended.err)
            assert "fault of dagbox" not in ended.err
    assert "pwned" in run("workers", node.address).out
    (row,) = [each for each in run("services", node.address, "--format", "json").rows if each["name"] == SERVICE]
    assert row["errors"] >= 3


def test_no_command_of_the_shell_lets_it_through(node: Served) -> None:
    out, err = io.StringIO(), io.StringIO()
    with dagbox.connect(node.address) as db:
        shell = Shell(Connection(node.address, db), Output(out, err, terminal=True, colour=False))
        for command in (
            "status",
            "services",
            "workers",
            "events",
            "traces",
            "locks",
            "buckets",
            f"scan {quote(BUCKET)}",
        ):
            for format_ in ("tree", "table", "json"):
                assert shell.run_text(f"{command} --format {format_}")
        for trace in db.traces(limit=100):
            shell.run_text(f"trace {trace.id}")
        for command in ("pause", "resume", "call", "drain"):
            shell.run_text(f"{command} {quote(SERVICE)}")
    assert_inert(out.getvalue() + err.getvalue())
    assert out.getvalue().count("pwned") > 20


def read(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def test_metrics_have_the_names_and_no_other_lines(node: Served) -> None:
    with serving_metrics(node.address, 0) as url:
        text = until(lambda: scraped if BUCKET[:20] in (scraped := read(url)) else "")  # the store reports each second
    families = list(text_string_to_metric_families(text))
    names = {each.name for family in families for each in family.samples}
    assert all(name.startswith("dagbox_") for name in names)
    assert "dagbox_evil" not in names
    labels = {value for family in families for each in family.samples for value in each.labels.values()}
    assert {SERVICE, BUCKET} <= labels


async def test_a_recording_of_it_is_shown(node: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / f"r{EVIL}"[:60].replace("\0", "").replace("/", "-")
    stop = threading.Event()
    stop.set()
    assert run_headless(Options(target=node.address, record=str(file)), stop) == 0
    assert_inert(capsys.readouterr().err)
    with Recording(file) as recording:
        assert SERVICE in {each["name"] for each in recording.poll(0)["services"]}
    app = replay(file)
    async with showing(app, (200, 60)) as screen:
        for keys in SCREENS.values():
            await screen.press("1", *keys)
            assert_inert(screen.text())
            await screen.press("escape", "escape")


def test_the_log_has_it_in_lines_of_its_own(node: Served, log: io.StringIO) -> None:
    lines = log.getvalue().splitlines()
    assert any("pwned" in line for line in lines)
    for line in lines:
        assert_inert(line, breaks="")
        assert line.startswith("  ") or line[:4].isdigit(), ascii(line)


@pytest.mark.parametrize(("name", "told"), [("x" * 101, "101"), ("é" * 51, "102"), ("\udcff", "not valid Unicode")])
def test_what_is_no_name_of_a_service_is_told_by_node_and_directory(node: Served, name: str, told: str) -> None:
    for database in (dagbox.open(":memory:"), dagbox.connect(node.address)):
        with database as db, pytest.raises((dagbox.LimitExceeded, dagbox.InvalidArgument)) as refused:
            db.call(name, 1)
        assert str(refused.value).startswith("the name of a service")
        assert told in str(refused.value)
