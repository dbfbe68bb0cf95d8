"""Settings: defaults < dagbox.toml < environment < flags."""

from __future__ import annotations

from pathlib import Path

import pytest

import dagbox
from dagbox.errors import BadSetting, UnknownSetting
from dagbox.settings import Settings, load_settings


def test_without_file_and_environment_there_are_defaults(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path) == Settings()


def test_the_environment_goes_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "dagbox.toml").write_text('at = "here"\nreaders = 3\nlisten = ["tcp://127.0.0.1:7000"]\ntimeout = 5\n')
    found = load_settings({"DAGBOX_URL": "there", "DAGBOX_LISTEN": "ipc:///a, ipc:///b"}, tmp_path)
    assert found == Settings(at="there", readers=3, listen=("ipc:///a", "ipc:///b"), timeout=5.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reader = 2", "no setting 'reader' (FILE): did you mean readers?"),
        (
            "zzz = 2",
            "no setting 'zzz' (FILE): the settings are at, durability, format, listen, logic, readers, timeout",
        ),
        ("readers = 0", "readers is 0 (FILE): it is a whole number from 1 to 256"),
        ("readers = true", "readers is True (FILE): it is a whole number from 1 to 256"),
        ('timeout = "1"', "timeout is '1' (FILE): it is a number of seconds above 0"),
        ("timeout = inf", "timeout is inf (FILE): it is a number of seconds above 0"),
        (
            'listen = "tcp://a:1"',
            "listen is 'tcp://a:1' (FILE): it is a list of addresses such as tcp://127.0.0.1:7000",
        ),
        ('format = "xml"', "format is 'xml' (FILE): it is one of table, json"),
    ],
)
def test_the_error_for_a_wrong_file_names_setting_and_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "dagbox.toml"
    path.write_text(text)
    with pytest.raises((UnknownSetting, BadSetting)) as caught:
        load_settings({"DAGBOX_CONFIG": str(path)})
    assert caught.value.message == message.replace("FILE", str(path))
    assert caught.value.fields["source"] == str(path)


def test_the_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "dagbox.toml").write_text("readers = 3\n", encoding="utf-8-sig")
    assert load_settings({}, tmp_path).readers == 3


def test_the_error_for_a_file_that_is_no_toml_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "dagbox.toml").write_text("readers = \n")
    with pytest.raises(BadSetting, match=r"it cannot be read: .*line 1"):
        load_settings({}, tmp_path)


def test_the_error_for_a_wrong_variable_names_it() -> None:
    with pytest.raises(BadSetting) as caught:
        load_settings({"DAGBOX_READERS": "many"}, Path())
    assert caught.value.message == "readers is 'many' (DAGBOX_READERS): it is not a number"
    with pytest.raises(BadSetting) as caught:
        load_settings({"DAGBOX_CONFIG": "/nowhere/dagbox.toml"})
    assert "there is no such file" in caught.value.message


def test_a_program_connects_to_what_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DAGBOX_URL", "DAGBOX_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    with dagbox.open("here", serve=True) as db:
        db.put("user", 1, key="k")
        with pytest.raises(dagbox.InvalidArgument, match=r"connect to what.*dagbox\.toml"):
            dagbox.connect()
        Path("dagbox.toml").write_text('at = "here"\n', encoding="utf-8")
        with dagbox.connect() as other:
            assert other.get("user", "k") == 1
        Path("dagbox.toml").write_text('at = "elsewhere"\n', encoding="utf-8")
        with pytest.raises(dagbox.CannotConnect, match="elsewhere"):
            dagbox.connect()
        monkeypatch.setenv("DAGBOX_URL", "here")
        with dagbox.connect() as other:
            assert other.get("user", "k") == 1


def test_a_found_file_that_leads_away_is_told_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DAGBOX_URL", "DAGBOX_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    Path("dagbox.toml").write_text('at = "../there"\n', encoding="utf-8")
    with pytest.warns(UserWarning, match=r"dagbox\.toml leads to \.\./there"), pytest.raises(dagbox.CannotConnect):
        dagbox.connect()
    Path("dagbox.toml").write_text('at = "tcp://example.org:7000"\n', encoding="utf-8")
    with pytest.raises(dagbox.BadSetting, match="leads to no other machine"):
        dagbox.connect()
