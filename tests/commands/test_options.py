"""The values of options: flags, environment, file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.conftest import Run


def test_a_flag_goes_before_everything(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("dagbox.toml").write_text('at = "file"\nformat = "json"\n')
    run("put", "a/b", "1")
    assert Path("file/data.mdb").is_file()
    assert run("get", "a/b").out.startswith('{"bucket"')
    assert run("get", "a/b", "--format", "table").out == "a/b  version 1\n  1\n"
    monkeypatch.setenv("DAGBOX_URL", "variable")
    monkeypatch.setenv("DAGBOX_FORMAT", "table")
    assert run("put", "a/b", "2").out == "a/b  version 1\n"
    assert run("get", "a/b", "--data", "--at", "file").out == "1\n"
    assert run("get", "a/b", "--data").out == "2\n"


def test_a_wrong_setting_is_wrong_usage(run: Run) -> None:
    Path("dagbox.toml").write_text("reader = 2")
    ended = run("status")
    assert ended.status == 2
    assert ended.err == "dagbox: error: no setting 'reader' (dagbox.toml): did you mean readers?\n"


@pytest.mark.parametrize("command", [["put", "a/b", "1"], ["shell", "-c", "put a/b 1"]])
def test_where_a_file_that_nobody_named_leads_is_told_once_and_printable(run: Run, command: list[str]) -> None:
    Path("inner").mkdir()
    Path("dagbox.toml").write_text('at = "../outer\\u001b]0;x"\n')
    ended = run(*command)
    assert ended.status == 0
    assert ended.err.count("dagbox.toml leads to ../outer\\x1b]0;x") == 1
    assert "\x1b" not in ended.err
    Path("dagbox.toml").write_text('at = "inner/data"\n')
    assert "dagbox.toml" not in run(*command).err
