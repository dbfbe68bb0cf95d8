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
