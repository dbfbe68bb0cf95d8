"""The level of the log: what DAGBOX_LOG names, and an error if it names none."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import dagbox
from dagbox.runtime.process import LogFormatter, log_level
from tests.hostile import EVIL, HOSTILE, IDS, assert_inert
from tests.runtime.nodes import ENVIRONMENT


def test_a_level_has_its_name_in_either_case_and_is_info_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGBOX_LOG", raising=False)
    assert log_level() == logging.INFO
    for text, level in (("debug", logging.DEBUG), ("Warning", logging.WARNING), ("", logging.INFO)):
        monkeypatch.setenv("DAGBOX_LOG", text)
        assert log_level() == level


def test_a_level_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGBOX_LOG", "bogus")
    with pytest.raises(dagbox.BadSetting, match=r"DAGBOX_LOG is 'bogus'.*debug") as refused:
        log_level()
    assert "\n" not in str(refused.value)


def logged(message: str, *arguments: object, error: BaseException | None = None) -> list[str]:
    info = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("dagbox", logging.ERROR, "file", 1, message, arguments, info)
    return LogFormatter().format(record).split("\n")


@pytest.mark.parametrize("text", HOSTILE, ids=IDS)
def test_a_message_is_one_line_that_commands_nothing(text: str) -> None:
    (line,) = logged("%s: the broker says: %s", f"worker{text}", f"error{text}")
    assert_inert(line, breaks="")


def test_a_traceback_cannot_pretend_to_be_another_line_of_the_log() -> None:
    try:
        raise ValueError(f"{EVIL}\n2026-01-01 00:00:00 ERROR forged")
    except ValueError as error:
        first, *rest = logged("it failed", error=error)
    assert first.endswith("ERROR it failed")
    assert len(rest) > 3
    for line in rest:
        assert line.startswith("  ")
        assert_inert(line, breaks="")


def test_a_thread_that_fails_is_a_line_of_the_log_too(tmp_path: Path) -> None:
    code = "import sys, threading; from dagbox.runtime.process import start_logging; start_logging();"
    code += "failing = threading.Thread(target=lambda: int(sys.argv[1]), name=sys.argv[1]); failing.start()"
    ended = subprocess.run(
        [sys.executable, "-c", code, EVIL.replace("\0", "")],
        capture_output=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    lines = ended.stderr.decode().splitlines()
    assert "ERROR process" in lines[0]
    assert "ValueError" in lines[-1]
    assert_inert("".join(lines), breaks="")
