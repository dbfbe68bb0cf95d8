"""Standard streams that are closed, full, or of another encoding: an answer or one line, never a fault of dagbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dagbox
from tests.runtime.nodes import ENVIRONMENT

DATA = {"name": "Zoë ♥ 🎈"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with dagbox.open(tmp_path / "data") as db:
        db.put("b", DATA, key="k")
    return tmp_path / "data"


def run(
    place: Path, arguments: list[str], *, redirect: str = "", given: bytes | None = None, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line, its streams redirected as a shell would."""
    words = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "dagbox", *arguments]
    environment = {**ENVIRONMENT, "DAGBOX_URL": str(place), "PYTHONIOENCODING": encoding}
    return subprocess.run(words, capture_output=True, env=environment, input=given, timeout=60, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_that_the_encoding_lacks_is_escaped_as_json(place: Path, encoding: str) -> None:
    for arguments in (["get", "b/k", "--format", "json"], ["shell", str(place), "-c", "get b/k"]):
        ended = run(place, arguments, encoding=encoding)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout.decode(encoding))["data"] == DATA


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "mark"])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_input_is_utf_8_with_or_without_a_mark(place: Path, encoding: str, mark: bytes) -> None:
    text = json.dumps(DATA, ensure_ascii=False).encode()
    for key, arguments, lines in (
        ("shell", ["shell", str(place)], b"put b/shell " + text + b"\n"),
        ("put", ["put", "b/put", "-"], text),
    ):
        ended = run(place, arguments, given=mark + lines, encoding=encoding)
        assert ended.returncode == 0, ended.stderr
        with dagbox.open(place) as db:
            assert db.get("b", key) == DATA


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault(place: Path, closed: str) -> None:
    for arguments in (["get", "b/k"], ["shell", str(place), "-c", "get b/k"], ["put", "b/x", "1"]):
        ended = run(place, arguments, redirect=closed)
        assert (ended.returncode, b"fault" in ended.stderr) == (0, False), (arguments, ended.stderr)
        assert run(place, ["get", "b/none"], redirect=closed).returncode == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_is_one_line(place: Path) -> None:
    for arguments in (["get", "b/k"], ["shell", str(place), "-c", "get b/k"]):
        ended = run(place, arguments, redirect=">/dev/full")
        assert ended.returncode == 1
        assert ended.stderr.decode().splitlines()[-1].endswith("No space left on device")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_input_that_is_no_text_is_refused_in_one_line(place: Path, encoding: str) -> None:
    for arguments, given, told in (
        (["put", "b/x", "-"], b'{"a": "\xff"}', "it is not UTF-8 text"),
        (["shell", str(place)], b"get b/k\n\xff\xfe\n", "no command \\udcff\\udcfe"),
        (["shell", str(place)], b'put b/x {"a": "\xff"}\n', "not valid Unicode"),
        (["import", "-"], b'{"a": "\xff"}', "line 1: it is not UTF-8"),
    ):
        ended = run(place, arguments, given=given, encoding=encoding)
        assert ended.returncode in (1, 2), arguments
        err = ended.stderr.decode("ascii", "replace")
        assert told in err.splitlines()[-1], err
        assert "fault of dagbox" not in err
        assert "codec" not in err


def test_files_that_are_no_text_or_lead_in_a_circle_are_told(place: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").write_bytes(b"\xff")
    (tmp_path / "loop").symlink_to("loop")
    for arguments, told in (
        (["put", "b/x", f"@{tmp_path}/bin"], "it is not UTF-8 text"),
        (["shell", str(place), "-c", f"source {tmp_path}/bin"], "it is not UTF-8 text"),
        (["shell", str(place), "-c", f"source {tmp_path}/loop"], "Too many levels of symbolic links"),
        (["shell", str(place), "-c", f"ls > {tmp_path}/loop/x"], "Too many levels of symbolic links"),
        (["export", f"{tmp_path}/loop/x"], "Too many levels of symbolic links"),
        (["up", f"{tmp_path}/loop/x", "--headless"], "Too many levels of symbolic links"),
        (["get", "b/k", "--at", f"{tmp_path}/loop"], "there is no such directory"),
        (["get", "b/k", "--at", "tcp://127.0.0.1:65536"], "the highest port is 65535"),
        (["up", str(tmp_path / "new"), "--headless", "--listen", "tcp://127.0.0.1:65536"], "the highest port is 65535"),
    ):
        ended = run(place, arguments)
        assert ended.returncode in (1, 2, 3), arguments
        err = ended.stderr.decode()
        assert told in err, (arguments, err)
        assert "fault of dagbox" not in err
    for content, told in ((b"\xff", "it is not UTF-8 text"), (b'at = "a\\u0000b"', "null character")):
        (tmp_path / "dagbox.toml").write_bytes(content)
        for arguments in (["get", "b/k"], ["shell", "-c", "ls"]):
            words = [sys.executable, "-m", "dagbox", *arguments]
            environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("DAGBOX_")}
            ended = subprocess.run(words, capture_output=True, env=environment, cwd=tmp_path, timeout=60, check=False)
            assert (ended.returncode, told in ended.stderr.decode()) == (2, True), ended.stderr
