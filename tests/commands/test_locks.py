"""`dagbox lock`: the command, its environment, its end; on a directory without a node."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import dagbox
from dagbox.tui.screens.locks.screen import LocksScreen
from tests.commands.conftest import Run

Spawn = Callable[..., "subprocess.Popen[str]"]
SHOW = 'echo "$DAGBOX_LOCK_TOKEN|$DAGBOX_LOCK_KEYS|$DAGBOX_URL"'


def test_the_command_has_token_keys_and_target_in_its_environment(run: Run, tmp_path: Path) -> None:
    first = run("lock", "a", "b", "--", "sh", "-c", SHOW)
    second = run("lock", "a", "--", "sh", "-c", SHOW)
    assert (first.status, first.err) == (0, "")
    token, keys, target = first.out.split("|")
    assert (keys, target) == ("a\nb", f"{tmp_path / 'data'}\n")
    assert int(second.out.split("|")[0]) > int(token)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -TERM $$"), 128 + signal.SIGTERM),
        (("no-such-command",), 127),
        ((".",), 126),
    ],
)
def test_the_exit_status_is_that_of_the_command(run: Run, command: tuple[str, ...], status: int) -> None:
    ended = run("lock", "a", "--", *command)
    assert ended.status == status
    assert ended.err.count("\n") == (1 if status in (126, 127) else 0)
    assert run("locks").err == "no locks are held\n"


def test_options_after_the_dashes_belong_to_the_command(run: Run) -> None:
    assert run("lock", "a", "--ttl", "5s", "--", "echo", "--ttl", "--help").out == "--ttl --help\n"


def test_a_write_under_the_lock_carries_its_token(run: Run) -> None:
    dagbox_command = f"{sys.executable} -m dagbox"
    put = f"{dagbox_command} put review/p1 '\"good\"' --fence review/p1"
    assert run("lock", "review/p1", "--", "sh", "-c", put).status == 0
    late = run("put", "review/p1", '"late"', "--fence", "review/p1=0")
    assert (late.status, late.out) == (1, "")
    assert run("get", "review/p1", "--data").out == '"good"\n'


def test_a_lock_that_is_not_granted_in_time_runs_nothing(run: Run, spawn: Spawn) -> None:
    holder = spawn("lock", "a", "--format", "json", "--owner", "me", "--at", "data", start_new_session=True)
    assert holder.stdout is not None
    assert '"owner": "me"' in holder.stdout.readline()
    refused = run("lock", "a", "--wait", "0", "--", "touch", "ran")
    assert refused.status == 1
    assert "a is locked by me" in refused.err
    assert not Path("ran").exists()
    holder.send_signal(signal.SIGINT)
    assert holder.wait(10) == 0
    assert run("lock", "a", "--wait", "0", "--", "touch", "ran").status == 0
    assert Path("ran").exists()


def test_sigterm_goes_to_the_command(spawn: Spawn) -> None:
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    process = spawn("lock", "a", "--", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(10) == 5


@pytest.mark.parametrize("script", ["", "trap '' TERM HUP; "])
def test_a_command_ends_with_the_one_that_holds_its_lock(spawn: Spawn, script: str) -> None:
    process = spawn("lock", "a", "--", "sh", "-c", f"{script}echo $$; while :; do sleep 0.05; done")
    assert process.stdout is not None
    command = os.pidfd_open(int(process.stdout.readline()))
    try:
        process.kill()
        assert select.select([command], [], [], 10)[0], "it goes on without its lock"
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(command, signal.SIGKILL)
        os.close(command)


def test_ctrl_c_is_the_commands_to_handle(spawn: Spawn) -> None:
    script = "trap 'exit 6' INT; echo ready; while :; do sleep 0.05; done"
    process = spawn("lock", "a", "--", "sh", "-c", script, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) == 6


def test_a_former_holder_is_refused_when_it_is_said_to_be(run: Run) -> None:
    """What help and dashboard promise of a release by force is what happens: the grant counts, not the first write."""
    with dagbox.open("data") as db:
        former = db.lock("job", keepalive=False).acquire()
        assert run("release", "job", "--yes").err == "job released\n"
        db.put("report", {"by": "the former"}, key="r", fence=former)
        with db.lock("job"), pytest.raises(dagbox.Fenced):
            db.put("report", {"by": "the former"}, key="r", fence=former)
    for told in (run("release", "--help").out, LocksScreen.HELP):
        assert "the next holder has the lock." in " ".join(told.split())
