"""The whole program: at a pseudo-terminal and by scripts, against a real node and an embedded store."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

import dagbox

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "dagbox"]
PROMPT = r"data(?::\w+)?\*?>"
TIMEOUT_S = 20
WHERE_IS_THE_CURSOR = "\x1b[6n"
"""What the shell asks the terminal: it shows the lines below only where it gets an answer."""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>()][0-9A-B]?|\x1b\][^\x07]*\x07|\r")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAGBOX_")}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "TERM": "xterm-256color",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PAGER": "less -R -F -X",
    }


@contextmanager
def running_node(directory: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A node as its own processes, until the block ends."""
    process = subprocess.Popen(
        [*PROGRAM, "up", str(directory), "--headless"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=directory.parent,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "ready, serving" in line:
                break
        else:
            raise AssertionError("the node did not start")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        process.wait(TIMEOUT_S)
        process.stderr.close()


@pytest.fixture
def node(directory: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with running_node(directory, environment) as process:
        yield process


def run(environment: dict[str, str], *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `dagbox shell` as a script does."""
    return subprocess.run(
        [*PROGRAM, "shell", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


class Terminal:
    """`dagbox shell` at a pseudo-terminal."""

    def __init__(self, environment: dict[str, str], *arguments: object) -> None:
        self.child = pexpect.spawn(
            PROGRAM[0],
            [*PROGRAM[1:], "shell", *map(str, arguments)],
            env=environment,
            dimensions=(30, 110),
            encoding="utf-8",
            timeout=TIMEOUT_S,
        )
        self.seen = ""

    def see(self, pattern: str) -> None:
        """Wait until the screen showed a text since the last one seen; colours and movements do not count."""
        until = time.monotonic() + TIMEOUT_S
        while (found := re.search(pattern, self.seen)) is None:
            try:
                came = self.child.read_nonblocking(65536, timeout=TIMEOUT_S)
            except (pexpect.TIMEOUT, pexpect.EOF):
                until = 0.0
                came = ""
            for _ in range(came.count(WHERE_IS_THE_CURSOR)):
                self.child.send("\x1b[1;1R")
            self.seen += ESCAPES.sub("", came)
            assert time.monotonic() < until, f"{pattern!r} did not come; the last was {self.seen[-2000:]!r}"
        self.seen = self.seen[found.end() :]

    def do(self, text: str) -> None:
        """Type a line."""
        self.child.send(text + "\r")

    def end(self) -> int:
        """Leave with Ctrl-D at the next prompt; the exit status."""
        self.see(PROMPT)
        self.child.send("\x04")
        self.child.expect(pexpect.EOF)
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -1)


@contextmanager
def terminal(environment: dict[str, str], *arguments: object) -> Iterator[Terminal]:
    screen = Terminal(environment, *arguments)
    try:
        yield screen
    finally:
        screen.child.close(force=True)


# -- without a terminal


def test_commands_from_the_command_line(environment: dict[str, str], directory: Path) -> None:
    done = run(environment, directory, "-c", 'put user/ada {"name": "Ada"}', "-c", "get user/ada")
    assert done.returncode == 0
    assert [json.loads(line)["version"] for line in done.stdout.splitlines()] == [1, 1]
    assert done.stderr == f"no node answers on {directory}: opened the directory (a new one) embedded\n"
    done = run(environment, directory, "--format", "tree", "-c", "get user/ada")
    assert done.stdout == 'user/ada  version 1\n└─ name: "Ada"\n'


def test_a_mistyped_directory_becomes_a_database_only_by_a_write(environment: dict[str, str], tmp_path: Path) -> None:
    done = run(environment, tmp_path / "tyop", "-c", "get user/ada", "-c", "buckets")
    assert done.returncode == 3
    assert "there is no such directory" in done.stderr
    assert not (tmp_path / "tyop").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("hello")
    done = run(environment, tmp_path / "home", "-c", "put user/ada 1")
    assert done.returncode == 1 or done.returncode == 3
    assert "it holds other files and no database" in done.stderr
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter.txt"]
    with terminal(environment, tmp_path / "tyop") as screen:
        screen.child.expect(r"Make one\? \[y/N\]")
        screen.child.sendline("n")
        screen.child.expect(pexpect.EOF)
    assert not (tmp_path / "tyop").exists()


def test_a_read_only_shell_opens_the_store_for_reading_only(environment: dict[str, str], directory: Path) -> None:
    done = run(environment, directory, "--read-only", "-c", "ls")
    assert done.returncode == 3
    assert not directory.exists()
    with dagbox.open(directory) as db:
        db.put("user", 1, key="ada")
    done = run(environment, directory, "--read-only", "-c", "get user/ada", "-c", "put user/ada 2")
    assert "embedded, for reading only" in done.stderr
    assert "put is refused" in done.stderr
    assert json.loads(done.stdout)["data"] == 1


def test_commands_from_standard_input(environment: dict[str, str], directory: Path) -> None:
    lines = ["# two records", "put team/core {}", "put user/ada {", '  "team": @team/core', "}"]
    text = "\n".join([*lines, "get user/ada {", "  team: via team", "}", ""])
    done = run(environment, directory, stdin=text)
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["relations"]["team"][0]["key"] == "core"


def test_the_first_failure_ends_a_script(environment: dict[str, str], directory: Path) -> None:
    done = run(environment, directory, "-c", "get a/b", "-c", "put a/b 1")
    assert (done.returncode, done.stdout) == (1, "")
    done = run(environment, directory, "--keep-going", stdin="get a/b\nput a/b 1\nnonsense\n")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    done = run(environment, directory, stdin="get a/b {")
    assert done.returncode == 1
    assert "} is missing" in done.stderr


def test_destructive_commands_need_yes(environment: dict[str, str], directory: Path) -> None:
    run(environment, directory, "-c", "put a/b 1")
    done = run(environment, directory, "-c", "del a/b")
    assert done.returncode == 1
    assert "add --yes" in done.stderr
    assert run(environment, directory, "--yes", "-c", "del a/b").returncode == 0


def test_exit_statuses(environment: dict[str, str], directory: Path, tmp_path: Path) -> None:
    assert run(environment, "tcp://127.0.0.1:1", "-c", "ls").returncode == 3
    assert run(environment, directory, "--read-only", "-c", "ls").returncode == 3
    assert run(environment, directory, "--format", "xml").returncode == 2
    (tmp_path / "config" / "dagbox").mkdir(parents=True)
    (tmp_path / "config" / "dagbox" / "shell.toml").write_text("[nonsense]")
    done = run(environment, directory, "-c", "ls")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_reader_that_has_enough_ends_the_shell_without_noise(environment: dict[str, str], directory: Path) -> None:
    with dagbox.open(directory) as db, db.pipeline() as pipeline:
        for number in range(20_000):
            pipeline.put("n", {"text": "x" * 50}, key=f"{number:06}")
    command = f"{' '.join(PROGRAM)} shell {directory} -c 'scan n' | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, timeout=60)
    assert json.loads(done.stdout)["key"] == "000000"
    assert done.stderr.count("\n") == 1


def test_a_script_is_interrupted(environment: dict[str, str], directory: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "shell", str(directory), "-c", "put a/b 1", "-c", "watch --every 50ms get a/b"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert "Traceback" not in said


@pytest.mark.usefixtures("node")
def test_scripts_on_a_node(environment: dict[str, str], directory: Path) -> None:
    done = run(environment, directory, "-c", "put a/b 1", "-c", "lock a", "-c", "locks", "-c", "workers")
    assert done.returncode == 0
    assert done.stderr == ""
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["service"] for row in rows if "service" in row} >= {"reader", "writer", "lock"}
    assert run(environment, directory, "-c", "locks").stdout == ""


# -- at a terminal


@pytest.mark.usefixtures("node")
def test_a_session_on_a_node(environment: dict[str, str], directory: Path) -> None:
    with terminal(environment, directory) as screen:
        screen.see(PROMPT)
        screen.do('put team/core {"name": "Core"}')
        screen.see("team/core  version 1")
        screen.do('put user/ada {"name": "Ada", "team": @team/core}')
        screen.see("user/ada  version 2")
        screen.child.send("get user/a")
        screen.see("user/ada")
        screen.child.send("\t")
        screen.see("user/ada")
        screen.do(" {")
        screen.see("NAME: BUCKET/KEY")
        screen.do("team: via team")
        screen.child.send("}\r")
        screen.see("team/core")
        screen.see("version 1")
        screen.see('"Core"')
        screen.do("lock user/ada --ttl 5s")
        screen.see("locked user/ada  token")
        screen.see("lock user/ada [45]s")
        screen.do("del user/ada")
        screen.see(r"delete user/ada, version 2. Go on\? \[y/N\]")
        screen.do("n")
        screen.see("nothing was done")
        screen.do("gte user/ada")
        screen.see(r"did you mean get\?")
        assert screen.end() == 0
    with dagbox.connect(directory) as db:
        assert db.locks() == []
        assert db.get("user", "ada")["name"] == "Ada"


@pytest.mark.usefixtures("node")
def test_a_shell_that_loses_its_terminal_gives_its_locks_back(environment: dict[str, str], directory: Path) -> None:
    for number, status in ((signal.SIGHUP, 129), (signal.SIGTERM, 143)):
        with dagbox.connect(directory) as db, terminal(environment, directory) as screen:
            screen.see(PROMPT)
            screen.do("lock job --ttl 60s")
            screen.see("locked job")
            screen.see(PROMPT)
            assert [info.key for info in db.locks()] == ["job"]
            assert screen.child.pid
            os.kill(screen.child.pid, number)
            screen.child.expect(pexpect.EOF)
            screen.child.close()
            assert screen.child.exitstatus == status
            assert db.locks() == []


@pytest.mark.usefixtures("node")
def test_ctrl_c_cancels_the_request_and_gives_the_prompt_back(environment: dict[str, str], directory: Path) -> None:
    with dagbox.connect(directory) as db, db.lock("job", ttl=60), terminal(environment, directory) as screen:
        screen.see(PROMPT)
        screen.do("lock job --wait 30s")
        waited = False
        while not waited:
            waited = any(info.waiting for info in db.locks())
        screen.child.send("\x03")
        screen.see("cancelled")
        screen.do("put a/b 1")
        screen.see("a/b  version")
        assert screen.end() == 0
        assert not any(info.waiting for info in db.locks())


def test_the_shell_says_when_the_node_is_away_and_back(environment: dict[str, str], directory: Path) -> None:
    with running_node(directory, environment), terminal(environment, directory) as screen:
        screen.see(PROMPT)
        screen.do("put a/b 1")
        screen.see("a/b  version 1")
        with running_node_stopped(directory):
            screen.see("does not answer: trying again")
        screen.see("the node answers again")
        screen.do("get a/b")
        screen.see("a/b")
        screen.see("version 1")
        assert screen.end() == 0


def test_the_shell_follows_a_node_that_was_started_anew(environment: dict[str, str], directory: Path) -> None:
    with running_node(directory, environment):
        screen = Terminal(environment, directory)
        screen.see(PROMPT)
        screen.do("put a/b 1")
        screen.see("a/b  version 1")
    try:
        screen.see("does not answer: trying again")
        with running_node(directory, environment):
            screen.see("the node answers again")
            screen.do("get a/b --format json")
            screen.see('"version": 1')
            assert screen.end() == 0
    finally:
        screen.child.close(force=True)


@contextmanager
def running_node_stopped(directory: Path) -> Iterator[None]:
    """Stop the node's broker (it is there, and silent), and let it go on when the block ends."""
    with dagbox.connect(directory) as db:
        pid = int(db.status().broker.pid)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_long_results_go_through_the_pager_and_watch_does_not(environment: dict[str, str], directory: Path) -> None:
    with dagbox.open(directory) as db, db.batch() as batch:
        for number in range(500):
            batch.put("n", {"text": "x"}, key=f"{number:06}")
    with terminal(environment, directory) as screen:
        screen.see("embedded")
        screen.see(PROMPT)
        screen.do("scan n")
        screen.see("n/000020")
        screen.see(":")
        screen.child.send("q")
        screen.see(PROMPT)
        screen.do("watch --count 1 scan n")
        screen.see("n/000499")
        screen.see("500 records")
        screen.do("ls n | wc -l")
        screen.see("500")
        assert screen.end() == 0


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_that_only_prints_gets_no_colours_and_no_pager(
    environment: dict[str, str], directory: Path, name: str
) -> None:
    with dagbox.open(directory) as db, db.batch() as batch:
        for number in range(100):
            batch.put("n", {"text": "x"}, key=f"{number:06}")
    seen = io.StringIO()
    with terminal(environment | {"TERM": name, "PAGER": "false"}, directory) as screen:
        screen.child.logfile_read = seen
        screen.see(PROMPT)
        screen.do("scan n")
        screen.see("n/000099")
        screen.see(PROMPT)
        screen.do("get n/none")
        screen.see("error: no record")
        screen.see(PROMPT)
        screen.do("del n/000001")
        screen.see("Go on")
        screen.do("n")
        screen.see("nothing was done")
        assert screen.end() == 0
    assert "\x1b" not in seen.getvalue()


def test_an_environment_looks_different(environment: dict[str, str], directory: Path, tmp_path: Path) -> None:
    (tmp_path / "config" / "dagbox").mkdir(parents=True)
    (tmp_path / "config" / "dagbox" / "shell.toml").write_text(
        f'[environments.production]\nmatch = "{directory.parent}/*"\n'
        'label = "PRODUCTION"\ncolour = "red"\nread_only = true\n'
    )
    with dagbox.open(directory) as db:
        db.put("a", 1, key="b")
    with terminal(environment, directory) as screen:
        screen.see("PRODUCTION")
        screen.see("read-only")
        screen.do("put a/b 2")
        screen.see("put is refused: this shell is read-only")
        assert screen.end() == 0


def test_the_arrow_finds_the_last_command_of_the_last_shell(environment: dict[str, str], directory: Path) -> None:
    dagbox.open(directory).close()
    for keys in ('put a/b {"x": 41}\r', "\x1b[A\r"):
        with terminal(environment, directory) as screen:
            screen.see(PROMPT)
            screen.child.send(keys)
            screen.see("a/b  version")
            assert screen.end() == 0
    with dagbox.open(directory) as db:
        assert db.get_record("a", "b").version == 2
