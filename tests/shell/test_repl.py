"""The whole shell at a terminal that is a pipe: keys in, commands done."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

import dagbox
from dagbox.shell.editor.highlight import MOST_CHARACTERS, ShellLexer, line_fragments
from dagbox.shell.editor.hints import state
from dagbox.shell.editor.history import CommandHistory, is_secret, open_history
from dagbox.shell.editor.repl import Repl, indent_of, wants_more
from dagbox.shell.grammar.parse import parse
from dagbox.shell.render.text import plain
from dagbox.text.durations import format_duration
from tests.shell.conftest import Driven, refuse

CTRL_C, CTRL_D, ESCAPE = "\x03", "\x04", "\x1b"


@pytest.fixture(autouse=True)
def kept_texts_go_away_with_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `edit` keeps of what was typed stands among the temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


class Keyboard:
    """Types into a shell."""

    def __init__(self, pipe: PipeInput, driven: Driven, repl: Repl) -> None:
        self.pipe = pipe
        self.driven = driven
        self.repl = repl

    def type(self, text: str) -> None:
        """Type, leave with Ctrl-D, and run the shell until it ends."""
        self.pipe.send_text(text + CTRL_D)
        self.repl.run()


@pytest.fixture
def keyboard(driven: Driven) -> Iterator[Keyboard]:
    with at_keyboard(driven) as keyboard:
        yield keyboard


@contextmanager
def at_keyboard(driven: Driven) -> Iterator[Keyboard]:
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        repl = Repl(driven.shell, keyboard=pipe, screen=DummyOutput(), history=InMemoryHistory())
        yield Keyboard(pipe, driven, repl)


def test_commands_run_until_the_end_of_input(keyboard: Keyboard) -> None:
    keyboard.type('put user/ada {"name": "Ada"}\rget user/ada\r')
    assert '{"bucket": "user", "key": "ada", "version": 1, "data": {"name": "Ada"}}' in keyboard.driven.take()


def test_enter_begins_a_new_line_until_the_brace_closes(keyboard: Keyboard) -> None:
    keyboard.type('put team/core {}\rput user/ada {\r"team": @team/core\r}\rget user/ada {\rteam: via team\r}\r')
    assert keyboard.driven.shell.db.get("user", "ada") == {"team": dagbox.Ref("team", "core")}
    assert '"relations": {"team": [{"bucket": "team", "key": "core"' in keyboard.driven.take()


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ('put user/ada {"team": @te', True),
        ('put user/ada {"alive": tr', True),
        ("get user/ada { team: v", True),
        ("get user/ada { fans: where follows(X, $", True),
        ('assert follows(ada, "b', True),
        ("query follows(ada, X", True),
        ("put user/ada {name", False),
        ("get user/ada { team: via team } --lim", False),
        ("get us", False),
        ("ge", False),
    ],
)
def test_enter_within_a_bracket_leaves_a_half_typed_word_to_be_gone_on_with(text: str, more: bool) -> None:
    assert wants_more(text, None) is more
    assert wants_more(f"put a/b 1\n{text}", None) is more


def test_a_line_that_is_wrong_is_run_and_told(keyboard: Keyboard) -> None:
    keyboard.type("get user/ada }\r")
    assert "cannot stand here" in keyboard.driven.take_errors()


def test_ctrl_c_empties_the_line(keyboard: Keyboard) -> None:
    keyboard.type(f"put a/b 1{CTRL_C}put a/c 2\r")
    assert [record.key for record in keyboard.driven.shell.db.scan("a")] == ["c"]


def test_destructive_commands_ask_at_the_terminal(keyboard: Keyboard) -> None:
    keyboard.type("put a/b 1\rdel a/b\rn\rput a/c 1\rdel a/c\ry\r")
    assert [record.key for record in keyboard.driven.shell.db.scan("a")] == ["b"]
    assert "nothing was done" in keyboard.driven.take_errors()


def test_ctrl_d_with_an_open_batch_asks(keyboard: Keyboard) -> None:
    keyboard.type(f"batch\rput a/b 1\r{CTRL_D}n\rcommit\r")
    assert keyboard.driven.shell.db.get("a", "b") == 1


def test_ctrl_z_suspends_the_shell(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    suspended: list[bool] = []
    monkeypatch.setattr(keyboard.repl.session.app, "suspend_to_background", lambda: suspended.append(True))
    keyboard.type("put a/b 1\x1a\r")
    assert suspended == [True]
    assert keyboard.driven.shell.db.get("a", "b") == 1


def test_exit_leaves(keyboard: Keyboard) -> None:
    keyboard.pipe.send_text("put a/b 1\rexit\rput a/c 1\r")
    keyboard.repl.run()
    assert [record.key for record in keyboard.driven.shell.db.scan("a")] == ["b"]


def test_vi_keys(keyboard: Keyboard) -> None:
    keyboard.driven.shell.settings.set("editing", "vi")
    keyboard.type(f"put a/b 12{ESCAPE}x\r")
    assert keyboard.driven.shell.db.get("a", "b") == 1


def test_history_is_told_newest_last(keyboard: Keyboard) -> None:
    keyboard.type("put a/b 1\rget a/b\rhistory put\r")
    assert '{"command": "put a/b 1"}' in keyboard.driven.take()


@pytest.mark.parametrize("completion", ["on", "off"])
def test_tab_before_the_names_have_come_inserts_them_when_they_come(driven: Driven, completion: str) -> None:
    driven.run("put user/ada 36", f"set completion {completion}")
    driven.take()
    with at_keyboard(driven) as keyboard:
        buffer = keyboard.repl.session.default_buffer
        tab = threading.Event()
        keyboard.repl.live._connect = lambda: driven.shell.db if tab.wait(10) else None

        def look(_: object) -> None:
            if buffer.text == "get user/ada":
                keyboard.pipe.send_text(f"\r{CTRL_D}")

        buffer.on_text_changed += look
        keyboard.repl.session.app.after_render += lambda app: tab.set() if keyboard.repl._tab_at else None
        keyboard.pipe.send_text("get user/a\t")
        keyboard.repl.run()
    assert '"data": 36' in driven.take()


def test_names_that_come_late_open_the_menu(driven: Driven) -> None:
    """The menu shows keys that were fetched after the last key was pressed."""
    driven.run("put user/ada {}", "put user/adam {}")
    with at_keyboard(driven) as keyboard:
        shown = threading.Event()
        buffer = keyboard.repl.session.default_buffer

        def look(_: object) -> None:
            menu = buffer.complete_state
            if (
                menu is not None
                and [each.text for each in menu.completions] == ["user/ada", "user/adam"]
                and not shown.is_set()
            ):
                shown.set()
                keyboard.pipe.send_text(f"{CTRL_C}{CTRL_D}")

        buffer.on_completions_changed += look
        keyboard.pipe.send_text("get user/ad")
        keyboard.repl.run()
        assert shown.is_set()


def test_the_editor_writes_back_with_compare_and_set(
    driven: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven.run('put user/ada {"n": 1}')
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/1/2/" "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    driven.shell.ask = lambda question: False
    assert driven.run("edit user/ada")
    assert driven.shell.db.get_record("user", "ada").version == 2
    assert driven.shell.db.get("user", "ada") == {"n": 2}
    assert driven.run("edit user/ada")
    assert '"changed": false' in driven.take()


def test_two_editors_do_not_overwrite_each_other(
    driven: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    driven.run('put user/ada {"n": 1}')
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/1/2/" "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    asked: list[str] = []

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    driven.shell.ask = refuse
    read_record = driven.shell.db.get_record

    def read_then_other_writes(*args: Any, **more: Any) -> object:
        record = read_record(*args, **more)
        driven.shell.db.put("user", {"n": 7}, key="ada")
        return record

    monkeypatch.setattr(driven.shell.db, "get_record", read_then_other_writes)
    driven.take_errors()
    assert not driven.run("edit user/ada")
    said = driven.take_errors()
    assert "Somebody else changed the record" in asked[0]
    assert '+  "n": 7' in said
    kept = said.rpartition("is kept in ")[2].splitlines()[0]
    assert Path(kept).read_text() == '{\n  "n": 2\n}\n'
    assert driven.shell.db.get("user", "ada") == {"n": 7}


def test_no_json_in_the_editor_is_told_with_its_line(
    driven: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "{\n oops" > "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    asked: list[str] = []
    driven.shell.ask = partial(refuse, asked)
    assert not driven.run("put user/new")
    assert asked == ['Line 2: a name in double quotes expected, such as "name". Edit again?']
    assert "user" not in driven.shell.db.buckets()
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    assert "cannot run the editor" in driven.error("edit user/new")


def write_editor(path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(path))


def test_an_editor_that_takes_the_file_away_writes_nothing(
    driven: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_editor(tmp_path / "editor", 'rm "$1"', monkeypatch)
    driven.shell.ask = lambda question: False
    driven.run('put user/ada {"n": 1}')
    assert "the file is gone after editing" in driven.error("edit user/ada")
    assert driven.shell.db.get("user", "ada") == {"n": 1}


def test_an_editor_that_writes_no_text_is_told_and_its_file_kept(
    driven: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_editor(tmp_path / "editor", 'printf "\\377{" > "$1"', monkeypatch)
    asked: list[str] = []
    driven.shell.ask = partial(refuse, asked)
    kept = driven.error("edit user/ada").rpartition("is kept in ")[2].splitlines()[0]
    assert asked == ["The file is not text in UTF-8. Edit again?"]
    assert Path(kept).read_bytes() == b"\xff{"
    Path(kept).unlink()


def test_ctrl_c_is_a_key_of_the_editor(driven: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_editor(
        tmp_path / "editor", 'trap "echo \'{\\"n\\": 2}\' > $1" INT\nkill -INT $PPID\nkill -INT $$', monkeypatch
    )
    driven.shell.ask = lambda question: False
    assert driven.run("edit user/ada"), driven.take_errors()
    assert driven.shell.db.get("user", "ada") == {"n": 2}


def test_a_fault_of_the_shell_does_not_end_it(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ValueError("oops")

    monkeypatch.delenv("DAGBOX_DEBUG", raising=False)
    monkeypatch.setattr(keyboard.driven.shell.db, "buckets", broken)
    keyboard.type("buckets\rput user/ada 1\r")
    assert "error: ValueError: oops (this is a fault of dagbox" in keyboard.driven.take_errors()
    assert keyboard.driven.shell.db.get("user", "ada") == 1


# -- what is drawn


def fragments(text: str) -> list[tuple[str, str]]:
    return [
        (style.removeprefix("class:shell."), part) for line in line_fragments(parse(text)) for style, part, *_ in line
    ]


def test_words_are_coloured_as_what_they_are() -> None:
    text = 'get user/ada { team: via team  f: where p(X, "t") in u limit 3 }'
    found = {part: style for style, part in fragments(text)}
    assert found["get"] == "command"
    assert found["user/ada"] == "ref"
    assert found["f"] == "relation"
    assert found["via"] == found["where"] == found["in"] == "keyword"
    assert (found["p"], found["X"], found['"t"'], found["3"]) == ("predicate", "variable", "string", "number")
    assert ("danger", "del") in fragments("del a/b")
    assert ("error", "nonsense") in fragments("nonsense now")
    assert ("error", "a") in fragments("put u/x {a")
    assert all(style != "error" for style, _ in fragments("ge"))


def test_colours_cover_every_line_and_long_texts_go_without() -> None:
    text = 'put a/b {\n  "x": 1\n}'
    lexer = ShellLexer(parse)
    lines = lexer.lex_document(Document(text))
    assert ["".join(part for _, part, *_ in lines(number)) for number in range(3)] == text.split("\n")
    long = Document("x" * (MOST_CHARACTERS + 1) + "\nsecond")
    assert lexer.lex_document(long)(1) == [("", "second")]


def test_the_line_below_shows_what_is_held(driven: Driven) -> None:
    assert "(embedded)" in plain(state(driven.shell))
    driven.run("lock job --ttl 30s", "batch", "put a/b 1")
    driven.shell.stays_read_only = True
    shown = plain(state(driven.shell))
    assert "lock job 30s" in shown or "lock job 29s" in shown
    assert "batch 1" in shown
    assert "read-only" in shown
    assert format_duration(driven.shell.last_s or 0.0) in shown
    assert "no answer" in plain(state(driven.shell, reachable=False))


def test_lines_are_indented_as_deep_as_brackets_are_open() -> None:
    assert indent_of("get a/b {") == "  "
    assert indent_of("get a/b { x: via y {") == "    "
    assert indent_of("get a/b { x: via y }") == ""


# -- history


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('put user/ada {"password": "x"}', True),
        ('put user/ada {"api_key": "x"}', True),
        ('put a/b {"token": "abc"}', True),
        ('put a/b {"pwd": "x"}', True),
        ("put a/b 'postgres://ada:pw@host/db'", True),
        ("connect https://:pw@host", True),
        ('put a/b {"headers": {"Authorization": "Basic eA=="}}', True),
        ('put a/b {"id": "AKIAABCDEFGHIJKLMNOP"}', True),
        ("put a/b 'ghp_0123456789abcdefghijABCDEFGHIJ'", True),
        ("put a/b 'sk-live_0123456789abcdef'", True),
        ("put a/b 'eyJhbGciOiJI.eyJzdWIiOiIx.c2ln'", True),
        ('put a/b {"pass": "x"}', True),
        ('call auth login {"user": "ada", "pw": "x"}', True),
        ('put a/b {"id_token": "x"}', True),
        ('put a/b {"sessionToken": "x"}', True),
        ('put a/b {"github_token": "x"}', True),
        ('put a/b {"tokens": ["x"]}', True),
        ("put a/b {token: 1}", True),
        ('put a/b {"Cookie": "sid=1"}', True),
        ('put a/b {"auth": "x"}', True),
        ('put a/b {"passcode": "1"}', True),
        ('put a/b {"pin_code": 1}', True),
        ('put a/b {"otp": 1}', True),
        ('put a/b {"Passwort": "x"}', True),
        ('put a/b {"signing_key": "x"}', True),
        ('put a/b {"encryptionKey": "x"}', True),
        ('put a/b {"api key": "x"}', True),
        ('put a/b {"secretKey": "x"}', True),
        ('put a/b {"passwordHash": "x"}', True),
        ('put a/b {"clientSecretValue": "x"}', True),
        ("put a/b 'Basic dXNlcjpwYXNz'", True),
        ("put a/b 'sk_live_0123456789abcdefABCDEF'", True),
        ("put a/b 'glpat-0123456789abcdefABCD'", True),
        ("put a/b 'github_pat_11ABCDEFG0123456789abcdef'", True),
        ("put a/b 'AIzaSyA0123456789abcdefghijklmnopqrstuv'", True),
        ("put a/b 'npm_0123456789abcdefghijABCDEFGHIJ012345'", True),
        ("put a/b 'pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAw'", True),
        ("put a/b 'SG.abcdefghijklmnopqrstuv.abcdefghijklmnopqrstuvwxyz'", True),
        ("put a/b 'xapp-1-A012-0123456789-abcdef'", True),
        ("put a/b 'https://hooks.slack.com/services/T000/B000/X'", True),
        ("put a/b 'https://host/x?token=abc'", True),
        ("put a/b 'https://0123456789abcdef@host/x'", True),
        ("get a/b | curl -u ada:pw https://host", True),
        ("get a/b | mysql -u ada -psecretly", True),
        ("get a/b | PGPASSWORD=x psql", True),
        ('put page/1 {"passwordless": true, "tokenizer": "x", "keyboard": 1}', False),
        ("put a/b {author: @user/ada, compass: 1}", False),
        ("scan secretary/1 | sort -u", False),
        ("scan bypass", False),
        ("connect tcp://host:7000", False),
        ("put a/b 'https://host:80/@ada'", False),
        ("get author/1", False),
        ("ls sk-1", False),
        (" get user/ada", True),
        ("put a/b " + "x" * 30_000, True),
        ("get user/ada", False),
        ("lock token", False),
        ("get secretary/1", False),
    ],
)
def test_secrets_are_not_kept(text: str, secret: bool) -> None:
    assert is_secret(text) is secret


def test_the_history_file_is_private_and_skips_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    history = open_history()
    assert isinstance(history, CommandHistory)
    for text in ("get a/b", "get a/b", 'put a/b {"password": 1}', "get {\n x: y/z\n}"):
        history.append_string(text)
    path = tmp_path / "dagbox" / "shell_history"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(open_history().load_history_strings()) == ["get {\n x: y/z\n}", "get a/b"]


def test_a_history_that_grew_too_long_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("dagbox.shell.editor.history.MOST_BYTES", 2000)
    history = open_history()
    for number in range(100):
        history.append_string(f"get user/{number:05}")
    kept = list(open_history().load_history_strings())
    assert kept[0] == "get user/00099"
    assert 40 <= len(kept) <= 60


def test_without_a_place_for_it_history_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagbox").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert isinstance(open_history(), InMemoryHistory)


def test_the_prompt_shows_environment_bucket_and_batch(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagbox.shell.settings import Environment

    shell = keyboard.driven.shell
    shell.connection.environment = Environment("PROD", "red")
    shell.bucket = "user"
    shell.batch = []
    prompt = keyboard.repl._prompt()
    assert "".join(part for _, part, *_ in prompt) == " PROD  data:user*> "
    assert "bg:ansired" in prompt[0][0]


def test_room_is_kept_for_proposals_below_a_command_of_many_lines(keyboard: Keyboard) -> None:
    free: list[int] = []
    app = keyboard.repl.session.app
    app.after_render += lambda _: free.append(
        keyboard.repl.session.reserve_space_for_menu - keyboard.repl.session.default_buffer.document.line_count
    )
    keyboard.type("get user/ada {\rteam: via team\rposts: via posts\r}\r")
    assert min(free) == 5


def test_pasted_lines_end_where_they_end_in_a_script(keyboard: Keyboard, tmp_path: Path) -> None:
    sentinel, seen = tmp_path / "sentinel", tmp_path / "seen"
    sentinel.touch()
    keyboard.driven.shell.db.put("p", 1, key="k")
    lines = [f"get p/k | cat > {seen}", f"rm {sentinel}"]
    keyboard.type("\x1b[200~" + "\n".join(lines) + "\x1b[201~\r")
    assert sentinel.exists(), "the second line went to the program of the first"
    assert seen.exists()
    keyboard.type("\x1b[200~use user\nlock a\nlock b\x1b[201~\r")
    assert keyboard.driven.shell.bucket == "user"
    assert [held.lease.keys for held in keyboard.driven.shell.held] == [("user/a",), ("user/b",)]


def test_pasted_lines_are_run_one_after_the_other_until_one_fails(keyboard: Keyboard) -> None:
    lines = [*(f'put p/k{number} {{"n": {number}}}' for number in range(200)), "get p/none", "put p/late 1"]
    keyboard.type("\x1b[200~" + "\n".join(lines) + "\x1b[201~\r")
    assert keyboard.driven.shell.db.buckets() == {"p": 200}
    assert "no record p/none\nstopped here: 1 command not run" in keyboard.driven.take_errors()
