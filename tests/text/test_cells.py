"""Cells of data: no two values of a record or a row look alike, in any face."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dagbox.commands.output import Column
from dagbox.notation.json import dump
from dagbox.protocol.values import Ref
from dagbox.shell.render.text import cell, of_data
from dagbox.text.tables import TextTable
from dagbox.tui.display import text as dashboard


def command_line(value: Any) -> str:
    column = Column("x", "x", data=True)
    return list(TextTable(["x"]).rows([[column.cell({"x": value})]]))[1][0].strip()


def shell(value: Any) -> str:
    return cell(of_data(value))


FACES = {"command line": command_line, "shell": shell, "dashboard": dashboard.of_data}

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
OTHERS = [
    *(None, True, False, 0, 1, -1, 1.0, 1.0000001, 0.1 + 0.2, 0.3, 1e300, math.inf, -math.inf),
    *(b"", b"ada", b"x" * 30, b"x" * 31, NOON, Ref("user", "ada"), Ref("user", "ada", 3), msgpack.ExtType(1, b"a")),
    *([], [1], ["1"], [Ref("user", "ada")], {}, {"a": 1}, {"a": "1"}, {"a": b"a"}, {"a": NOON}, {1: 2}, {"1": 2}),
]
TEXTS = [
    "",
    " ",
    "a",
    "a ",
    "a  b",
    "a b",
    "a\nb",
    "a\\nb",
    "\x1b[m",
    "\\x1b[m",
    "\u200b",
    "\\u200b",
    "a\u202eb",
    "[b]",
]


def twins(value: Any) -> list[str]:
    """Texts that say the same as the value in one notation or the other."""
    return [str(face(value)) for face in FACES.values()] + [
        dump(value),
        str(value),
        repr(value),
        json.dumps(dump(value)),
    ]


LEAVES = st.sampled_from([*OTHERS, *TEXTS]) | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
VALUES = LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(st.text(max_size=2), LEAVES, max_size=2)


def identity(value: Any) -> bytes:
    """Two values are the same if these are: 1 is not 1.0, nor True."""
    return repr((type(value), value)).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
def test_samples_of_all_kinds_and_the_texts_like_them_differ(face: Callable[[Any], str]) -> None:
    values = {identity(each): each for value in [*OTHERS, *TEXTS] for each in [value, *twins(value)]}
    cells: dict[str, Any] = {}
    for value in values.values():
        shown = face(value)
        assert shown not in cells, (shown, cells[shown], value)
        cells[shown] = value


@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
@given(value=VALUES, other=VALUES)
@example(value="null", other=None)
@example(value=1, other=1.0)
def test_two_values_never_share_a_cell(face: Callable[[Any], str], value: Any, other: Any) -> None:
    for each in (other, *twins(value)):
        if identity(each) != identity(value) and "…" not in face(value):
            assert face(each) != face(value)


@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
@pytest.mark.parametrize("text", ["Ada", "ada@example.org", "user/ada", "a b", "Grüße", "漢字", "1 2", "not null"])
def test_a_text_that_is_like_nothing_else_stands_as_it_is(face: Callable[[Any], str], text: str) -> None:
    assert face(text) == text


@given(value=VALUES)
def test_a_value_is_the_same_text_in_every_face(value: Any) -> None:
    shown = command_line(value)
    assert shell(value).strip() == shown
    assert dashboard.of_data(value, 10**6).strip() == shown


def test_a_value_too_deep_for_json_is_still_shown() -> None:
    deep: Any = 1
    for _ in range(2000):
        deep = {1: deep}
    assert "…" in dashboard.of_data(deep)
