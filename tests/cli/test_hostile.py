"""Text of others cannot command the terminal, whatever command prints it, and whichever way it ends."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

import dagbox
from tests.commands.conftest import ROOT, Ended, Run, read_until
from tests.hostile import BYTES, EVIL, HOSTILE, IDS, assert_inert, bucket_of
from tests.runtime.nodes import ENVIRONMENT

OWN = ("dagbox/text/streams.py", "dagbox/commands/output.py", "dagbox/shell/output.py")
"""The ways out, which filter."""
NO_TEXT_OF_OTHERS = {
    ("dagbox/cli.py", "click.echo"): "help",
    ("dagbox/commands/bench/command.py", "sys.stderr.write"): "a line of figures that is written again and again",
    ("dagbox/commands/options.py", "click.confirm"): "the one question, which filters",
    ("dagbox/shell/main.py", "click.confirm"): "one question, about a directory that is made printable",
}
COMMANDS = (
    "buckets",
    "scan {bucket}",
    "scan {bucket} --data",
    "scan {bucket} --format json",
    "get {bucket}/{key}",
    "get {bucket}/{key} --format json",
    "get {bucket}/none{key}",
    "put {bucket}/new{key} 1",
    "put {bucket}/{key} 1 --new",
    "put {bucket}/{key} {key}",
    "del {bucket}/new{key} {bucket}/none{key}",
    "locks",
    "release {key}",
    "release none{key}",
    "lock {key} --wait 0s",
    "lock other{key} --owner {key} -- true",
    "lock other{key} -- {key}",
    "facts",
    "facts --add likes {key} 1",
    "facts --add {key} 1",
    "query {key}",
    "query likes(X,Y)",
    "why likes({key})",
    "explain likes({key},Y)",
    "rules --drop {key}",
    "call {key} 1",
    "export --bucket {bucket}",
    "export --bucket none{bucket}",
    "export {key}.jsonl",
    "import {key}",
    "backup copy{key}",
    "restore none{key} {key}",
    "verify {key}",
    "compact {key}",
    "status",
    "status --at {key}",
    "status tcp://{key}",
    "{key}",
    "scan --{key}",
    "scan {bucket} --limit {key}",
    "get {bucket}/{key} --with {key}",
    "bench {key}",
    "bench compare {key} {key}",
    "doctor {key}",
    "doctor --allow {key}",
    "top --replay {key}",
    "top --env {key}={key}",
    "up --readers {key}",
    "worker {key}",
    "broker --listen {key}",
    "shell -c 'scan none{key}'",
)


def filled(place: Path, text: str) -> tuple[str, str]:
    """Fill a database with the text; return the names of the bucket and the record in it."""
    bucket, key = bucket_of(text), f"k{text}".replace("\0", "")
    with dagbox.open(place) as db:
        db.put(bucket, {text: text, "list": [text], "ref": dagbox.Ref(bucket, key)}, key=key)
        db.put(bucket, text, key=key + "2")
        db.assert_fact("likes", key, text)
        db.lock(key, owner=f"me{text}", ttl=60).acquire()
    return bucket, key


@pytest.mark.parametrize("text", [*HOSTILE, EVIL], ids=[*IDS, "all"])
def test_nothing_that_others_wrote_is_printed_raw(run: Run, text: str) -> None:
    bucket, key = filled(Path("data"), text)
    for command in COMMANDS:
        ended = run(*(word.format(bucket=bucket, key=key) for word in shlex.split(command)))
        exported = command == "export --bucket {bucket}"  # the same bytes as in a file
        assert_inert(ended.err if exported else ended.out + ended.err)
        assert "fault of dagbox" not in ended.err, (command, ended.err)
        if ended.status == 2:
            assert_one_error(ended)


def assert_one_error(ended: Ended) -> None:
    """Fail unless the last line is an error as every way out writes it."""
    assert ended.err.splitlines()[-1].startswith(("dagbox: error: ", "error: ")), ended.err


def test_json_escapes_what_a_terminal_acts_on_and_stays_the_same_value(run: Run) -> None:
    with dagbox.open("data") as db:
        db.put("b", {"text": EVIL}, key="k")
    shown = run("get", "b/k", "--format", "json").out
    assert_inert(shown)
    assert json.loads(shown)["data"] == {"text": EVIL}


def test_an_export_that_is_seen_is_escaped_as_json() -> None:
    with dagbox.open("data") as db:
        db.put("b", {"text": EVIL}, key="k")
    child = pexpect.spawn(sys.executable, ["-m", "dagbox", "export"], encoding="utf-8", timeout=60)
    shown = child.read()
    assert_inert(shown, breaks="\r\n")
    assert json.loads(shown)["data"] == {"text": EVIL}


@pytest.mark.parametrize("word", BYTES, ids=ascii)
@pytest.mark.parametrize("module", ["dagbox", "dagbox.runtime.process"])
def test_words_that_are_no_text_are_refused_in_one_line(tmp_path: Path, module: str, word: bytes) -> None:
    mine = [b"worker %s --data d", b"worker reader --data %s/none/ --connect tcp://%s", b"broker --listen %s", b"%s"]
    more = [b"get b/%s", b"scan %s", b"put b/%s 1", b"query %s", b"call %s", b"lock %s --wait 0s -- true", b"status %s"]
    for command in mine if module == "dagbox.runtime.process" else [*mine, *more]:
        words = command.replace(b"%s", word).split()
        ended = subprocess.run(
            [sys.executable, "-m", module, *words],
            capture_output=True,
            env={**ENVIRONMENT, "LC_ALL": "C", "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        err = ended.stderr.decode()
        assert "Traceback" not in err, err
        assert "fault of dagbox" not in err, err
        assert_inert(ended.stdout.decode() + err)
        assert ended.returncode in (0, 1, 2, 3)
        if ended.returncode:
            assert err.splitlines()[-1].startswith("dagbox: error: "), err


def test_a_node_that_is_awaited_is_an_error_as_any_other(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    process = spawn("status", "--watch", "no\x1b[2J")
    assert_inert(read_until(process, "dagbox: error: "))


def test_text_leaves_the_program_by_its_filters_alone() -> None:
    ways = ("print", "click.echo", "click.secho", "click.confirm", "click.prompt")
    streams = ("stdout.write", "stderr.write", "stdout.writelines", "stderr.writelines")
    found = set[tuple[str, str]]()
    for path in sorted((ROOT / "dagbox").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name.startswith("dagbox/bench/") and not name.startswith("dagbox/bench/load/"):
            continue  # benchmarks of developers: they print figures of their own
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ways or called.endswith((*streams, "error.show")):
                    found.add((name, called))
    assert {way for way in found if way[0] not in OWN} == set(NO_TEXT_OF_OTHERS)
