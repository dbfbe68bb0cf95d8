"""`dagbox top` as a command: wrong usage, no node, no terminal, and a real terminal."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pexpect
import pytest

import dagbox
from dagbox.cli import main
from tests.tui.conftest import Served

ROOT = str(Path(dagbox.__file__).parent.parent)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--refresh", "0"],
        ["--replay", "no-such-file"],
        ["--headless"],
        ["--headless", "--web", "--record", "x"],
        ["--port", "70000"],
        ["--speed", "0"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") <= 3


def test_a_colour_that_there_is_not_is_wrong_usage(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--replay", str(recording), "--env", "prod=blurple"]) == 2
    assert "blurple" in capsys.readouterr().err


def test_a_replay_goes_with_no_node(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "somewhere", "--replay", str(recording)]) == 2


def test_without_a_terminal_it_tells_what_to_use(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", str(served.directory)]) == 2
    assert "dagbox status" in capsys.readouterr().err


def terminal(*arguments: str, term: str = "xterm-256color") -> pexpect.spawn[str]:
    colours = {"TERM": term, "COLORTERM": "truecolor", "PROMPT_TOOLKIT_NO_CPR": "1"}
    environment = {**os.environ, "PYTHONPATH": ROOT, **colours}
    command = ["-m", "dagbox", "top", *arguments]
    return pexpect.spawn(sys.executable, command, env=environment, dimensions=(30, 100), timeout=20, encoding="utf-8")


def test_no_node_is_exit_status_3(tmp_path: Path) -> None:
    child = terminal(str(tmp_path))
    child.expect("cannot connect")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 3


def test_a_file_that_is_no_recording_is_exit_status_1(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("hello, world")
    child = terminal("--replay", str(path))
    child.expect("not a recording")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 1


def test_in_a_terminal_it_shows_the_node_and_q_leaves(served: Served) -> None:
    child = terminal(str(served.directory), "--read-only", "--metrics-port", "0")
    child.expect("services")
    child.expect("reader")
    child.send("q")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_gives_the_terminal_back(served: Served, number: signal.Signals) -> None:
    child = terminal(str(served.directory))
    child.expect("services")
    child.kill(number)
    child.expect_exact("\x1b[?1049l")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 128 + number


@pytest.mark.parametrize("keys", ["\x1a", "p\x1a", "5\x1a"], ids=["overview", "question", "goal line"])
def test_control_z_gives_the_terminal_back_until_it_goes_on(served: Served, keys: str) -> None:
    child = terminal(str(served.directory))
    child.expect("services")
    child.send(keys)
    child.expect_exact("\x1b[?1049l")
    assert child.pid is not None
    assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
    child.kill(signal.SIGCONT)
    child.expect_exact("\x1b[?1049h")
    child.expect("●")
    child.kill(signal.SIGTERM)
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 128 + signal.SIGTERM


def test_a_terminal_without_a_cursor_is_refused(served: Served) -> None:
    child = terminal(str(served.directory), term="dumb")
    child.expect("TERM is not dumb")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 2


def test_standard_error_that_goes_elsewhere_is_told_where_one_looks(served: Served, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = f"exec {sys.executable} -m dagbox top {served.directory} 2>{log}"
    environment = {**os.environ, "PYTHONPATH": ROOT, "TERM": "xterm-256color"}
    child = pexpect.spawn("/bin/sh", ["-c", command], env=environment, timeout=20, encoding="utf-8")
    child.expect("standard error goes elsewhere")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 2
    assert "standard error" in log.read_text()


def test_the_shell_takes_the_terminal_and_gives_it_back(served: Served) -> None:
    child = terminal(str(served.directory))
    child.expect("services")
    child.send("s")
    child.expect(r"data\S*>")
    child.send("get team/t1\r")
    child.expect("Analysts")
    child.send("exit\r")
    child.expect("services")
    child.send("q")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
