"""Commands on a directory in a file system that is mounted for reading only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dagbox
from tests.commands.conftest import ROOT

READING = [
    "get user/ada",
    "scan user",
    "buckets",
    "status",
    "services",
    "workers",
    "facts",
    "rules",
    "query 'likes(X, Y)'",
    "why 'likes(ada, tea)'",
    "explain 'likes(X, Y)'",
    "export",
    "shell -c 'get user/ada'",
    "shell -c 'query likes(X, Y)'",
]
WRITING = [
    "put user/bob 1",
    "del user/ada",
    "facts --add likes bob tea",
    "lock k -- true",
    "locks",  # the table is read in a turn, which is taken by locking a file
    "shell -c 'put user/bob 1'",
]
MOUNTED = "mount --bind data ro && mount -o remount,ro,bind ro && "


def _there(tmp_path: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line of `dagbox` with DAGBOX_URL leading to a read-only mount of `data`."""
    line = f"{MOUNTED} DAGBOX_URL={tmp_path}/ro {sys.executable} -m dagbox {command}"
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", line],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(autouse=True)
def mounts(tmp_path: Path) -> None:
    """Make a database in `data`; skip where this process may not mount."""
    (tmp_path / "ro").mkdir()
    with dagbox.open(tmp_path / "data") as db:
        db.put("user", {"team": "core"}, key="ada")
        db.assert_fact("likes", "ada", "tea")
    try:
        subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{MOUNTED} true"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this process may not mount file systems")


@pytest.mark.parametrize("command", READING)
def test_every_reading_command_reads(tmp_path: Path, command: str) -> None:
    ended = _there(tmp_path, command)
    assert ended.returncode == 0, ended.stderr
    assert "error" not in ended.stderr


@pytest.mark.parametrize("command", WRITING)
def test_what_has_to_write_is_refused_in_one_line(tmp_path: Path, command: str) -> None:
    ended = _there(tmp_path, command)
    assert ended.returncode == 1
    lines = [line for line in ended.stderr.splitlines() if "error: " in line]
    assert len(lines) == 1, ended.stderr
    assert "may not be written" in lines[0] or "ead-only" in lines[0]
