"""The level of the log: what DAGBOX_LOG names, and an error if it names none."""

from __future__ import annotations

import logging

import pytest

import dagbox
from dagbox.runtime.process import log_level


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
