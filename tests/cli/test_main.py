"""Exit statuses, errors of one line, help, and what the command line does not import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dagbox
from dagbox.cli import COMMANDS, main
from tests.commands.conftest import ROOT, Run, start

WRONG = [
    (("gett", "a/b"), 2, "no command 'gett': did you mean get?"),
    (("get",), 2, "Missing argument"),
    (("get", "nokey"), 2, "'nokey' is not BUCKET/KEY, such as user/42"),
    (("get", "~own/key"), 2, "names that begin with ~ are reserved"),
    (("get", "b/" + "k" * 512), 2, "it has 512 bytes, the most allowed is 511"),
    (("get", "a/b", "--with", "posts: via"), 2, "a path expected after via"),
    (("get", "a/b", "--with", "posts"), 2, "--with 'posts'"),
    (("get", "a/b", "--timeout", "soon"), 2, "'soon' is not a time such as 500ms"),
    (("put", "a/b", "Ada"), 2, "a text is written '\"Ada\"'"),
    (("put", "a/b", '{"a": }'), 2, "is not JSON"),
    (("put", "a/b", "@./missing.json"), 2, "@./missing.json: No such file or directory"),
    (("put", "a/b", "@missing.json"), 2, "a file is written @./missing.json"),
    (("put", "a/b", "1", "--new", "--if-version", "3"), 2, "--new means --if-version 0"),
    (("put", "a/b", "1", "--fence", "lock"), 2, "has no token"),
    (("put", "a/b", "1", "--fence", "lock=x"), 2, "is not KEY=TOKEN"),
    (("put", "a/b", str(2**70)), 1, "cannot pack the value"),
    (("status", "one", "--at", "two"), 2, "two targets: one and --at two"),
    (("status", "--format", "xml"), 2, "'xml' is not one of"),
    (("lock", "a", "--"), 2, "there is no command after --"),
    (("lock", "--", "true"), 2, "Missing argument"),
    (("import", "--key", "id"), 2, "--key needs --bucket"),
    (("facts", "likes", "a"), 2, "facts [PREDICATE], or facts --add|--drop"),
    (("query", "p(X)", "--param", "x"), 2, "'x' is not NAME=VALUE"),
    (("query", "nothing(X)"), 1, "unknown predicate nothing"),
    (("query", "p(X"), 1, "line 1, column"),
    (("release", "a"), 1, "nobody holds a"),
    (("get", "a/b", "--at", "nowhere"), 3, "cannot connect to nowhere: there is no such directory"),
    (("scan", "a", "--at", "."), 3, "there is no database in it"),
    (("status", "ipc:///nowhere/at/all.sock", "--timeout", "1s"), 3, "cannot connect to ipc:///nowhere/at/all.sock"),
    (("status", "ftp://host"), 1, "not an address: 'ftp://host'"),
    (("scan", "nobody"), 1, "no bucket 'nobody': the buckets are a"),
    (("call", "thumbnail", "{}"), 1, "no service 'thumbnail'"),
    (("verify", "."), 3, "there is no database in it"),
    (("verify", "nowhere"), 3, "there is no such directory"),
    (("compact", "nowhere"), 3, "there is no such directory"),
    *(
        ((*words, "full/letter.txt"), status, "full/letter.txt: it is a file, not a directory")
        for words, status in (
            (("verify",), 3),
            (("compact",), 3),
            (("up", "--headless"), 1),
            (("demo", "--headless"), 1),
            (("status",), 3),
            (("get", "a/b", "--at"), 3),
            (("put", "a/b", "1", "--at"), 1),
            (("lock", "a", "--at"), 1),
            (("broker", "--data"), 1),
            (("worker", "reader", "--data"), 3),
        )
    ),
    (("up", "--headless", "--listen", "tcp://0.0.0.0:7000"), 1, "would let anybody in: use loopback, or --insecure"),
    (("facts", "--add", "age", "ada", '"36'), 2, '"36 is not one text in double quotes'),
    (("facts", "--add", "age", "ada", '"a", "b"'), 2, "is not one text in double quotes"),
    (("verify", "tcp://127.0.0.1:1"), 1, "this command works on a directory"),
    (("restore", "nowhere", "new"), 1, "nowhere"),
    (("put", "a/b", "1", "--at", "full"), 1, "it holds other files and no database"),
    (("import", "nothing.jsonl"), 1, "nothing.jsonl: No such file or directory"),
]


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    for words, options in ((["help"], ["--help"]), (["help", "get"], ["get", "--help"])):
        assert (main(words), main(options)) == (0, 0)
        out = capsys.readouterr().out
        assert out[: len(out) // 2] == out[len(out) // 2 :] != ""


@pytest.mark.parametrize(("arguments", "status", "message"), WRONG, ids=[" ".join(row[0])[:40] for row in WRONG])
def test_errors_are_reported_in_one_line(run: Run, arguments: tuple[str, ...], status: int, message: str) -> None:
    run("put", "a/there", "1")
    Path("full").mkdir()
    Path("full/letter.txt").write_text("Dear")
    ended = run(*arguments)
    assert (ended.status, ended.out) == (status, "")
    assert ended.err.startswith("dagbox: error: ")
    assert message in ended.err
    lines = 3 if "column" in ended.err else 1  # a rule or goal is shown, with a caret below the position
    assert ended.err.count("\n") == lines
    assert run("get", "a/there", "--data").out == "1\n"


def test_reading_makes_no_directory(run: Run, tmp_path: Path) -> None:
    for arguments in (("get", "a/b"), ("scan", "a"), ("buckets",), ("status",), ("locks",), ("export",)):
        assert run(*arguments).status == 3
    assert list(tmp_path.iterdir()) == []


def test_a_fault_is_one_line_and_a_traceback_when_debugging(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **rest: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    run("put", "a/b", "1")
    monkeypatch.setattr(dagbox.Database, "buckets", broken)
    ended = run("buckets")
    assert ended.status == 1
    assert ended.err.startswith("dagbox: error: ZeroDivisionError: division by zero (this is a fault of dagbox")
    assert ended.err.count("\n") == 1
    monkeypatch.setenv("DAGBOX_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run("buckets")


def test_ctrl_c_is_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **rest: object) -> None:
        raise KeyboardInterrupt

    run("put", "a/b", "1")
    monkeypatch.setattr(dagbox.Database, "buckets", interrupted)
    ended = run("buckets")
    assert (ended.status, ended.out, ended.err) == (130, "", "")


def test_a_reader_that_has_enough_is_no_error(run: Run, tmp_path: Path) -> None:
    with dagbox.open("data", durability="process") as db, db.batch() as batch:
        for number in range(3000):
            batch.put("n", {"text": "x" * 100}, key=f"{number:06}")
    command = f"{sys.executable} -m dagbox scan n | head -n 1"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == ["key", "version", "data"]


def test_version_and_help(run: Run) -> None:
    assert run("--version").out == f"dagbox {dagbox.__version__}\n"
    assert run().status == 2
    shown = run("--help")
    assert shown.status == 0
    for name, command in COMMANDS.items():
        assert f"  {name:<8}  {command.summary}\n" in shown.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_in_the_words_of_the_list(run: Run, name: str) -> None:
    shown = run(name, "--help")
    assert shown.status == 0
    assert f"Usage: dagbox {name} " in shown.out
    if "[DIR|URL]" in shown.out:  # the message about a directory that is not there names --at
        assert "--at" in shown.out


@pytest.mark.parametrize(
    ("command", "module", "message"),
    [
        (
            ("top", "--web"),
            "textual_serve",
            "the dashboard in a browser needs the web extra: pip install 'dagbox[web]'",
        ),
        (("top", "--web"), "aiohttp", "the dashboard in a browser needs the web extra: pip install 'dagbox[web]'"),
        (
            ("top", "--headless", "--metrics-port", "0"),
            "prometheus_client",
            "serving metrics to Prometheus needs the metrics extra: pip install 'dagbox[metrics]'",
        ),
    ],
)
def test_a_missing_extra_is_an_error_that_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], module: str, message: str
) -> None:
    for name in list(sys.modules):
        if name in ("dagbox.tui.web", "dagbox.prometheus") or name.partition(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    ended = run(*command)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == f"dagbox: error: {message}\n"


def test_help_imports_neither_sockets_nor_the_store() -> None:
    code = (
        "import sys; from dagbox.cli import main; status = main(['--help']);"
        "heavy = {'zmq', 'lmdb', 'msgpack', 'rich', 'textual', 'prompt_toolkit', 'asyncio', 'lark'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (process.returncode, process.stderr) == (0, "")


def test_colours_are_for_terminals_that_want_them() -> None:
    pexpect = pytest.importorskip("pexpect")
    with dagbox.open("data") as db:
        db.put("user", 1, key="a")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for more, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        output = pexpect.run(f"{sys.executable} -m dagbox buckets", env=environment | more)
        assert (b"\x1b[" in output) == coloured
    process = start("buckets")
    assert process.communicate(timeout=10) == ("bucket  records\nuser          1\n", "")
