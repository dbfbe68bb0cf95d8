"""Text on a terminal: a corpus of what must not reach it, widths, cuts."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagbox.text.terminal import (
    align,
    cell_width,
    one_line,
    pad,
    printable,
    printable_json,
    supports_colour,
    truncate,
    truncate_middle,
)
from tests.hostile import assert_inert

ATTACKS = {
    "clear the screen": ("\x1b[2J", r"\x1b[2J"),
    "set the title": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    "write to the clipboard": ("\x1b]52;c;bHM=\x1b\\", r"\x1b]52;c;bHM=\x1b" + "\\"),
    "a link to elsewhere": ("\x1b]8;;http://x\x1b\\y", r"\x1b]8;;http://x\x1b" + "\\y"),
    "the control sequence of C1": ("\x9b31mred", r"\x9b31mred"),
    "the string terminator of C1": ("\x9c", r"\x9c"),
    "next line of C1": ("a\x85b", r"a\x85b"),
    "go back over what was written": ("rm\x08\x08ls", r"rm\x08\x08ls"),
    "carriage return": ("real\rfake", r"real\rfake"),
    "line break": ("one\ntwo", r"one\ntwo"),
    "tab": ("a\tb", r"a\tb"),
    "nul and delete": ("\x00\x7f", r"\x00\x7f"),
    "line and paragraph separators": ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
    "override of direction": ("user\u202etxt.exe", r"user\u202etxt.exe"),
    "embeddings of direction": ("\u202a\u202b\u202c\u202d", r"\u202a\u202b\u202c\u202d"),
    "isolates of direction": ("\u2066\u2067\u2068\u2069", r"\u2066\u2067\u2068\u2069"),
    "marks of direction": ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),
    "zero width": ("pay\u200bpal\u200c\u200d\u2060\ufeff", r"pay\u200bpal\u200c\u200d\u2060\ufeff"),
    "soft hyphen": ("pass\u00adword", r"pass\xadword"),
    "tags": ("\U000e0041", r"\U000e0041"),
    "private use": ("\ue0b0", r"\ue0b0"),
    "unassigned": ("\U0003ffff", r"\U0003ffff"),
    "half a surrogate pair": ("\ud800", r"\ud800"),
    "letters that show nothing": ("a\u3164b\u115f\u1160\uffa0", r"a\u3164b\u115f\u1160\uffa0"),
    "joined graphemes": ("a\u034fb", r"a\u034fb"),
}

HARMLESS = [
    "",
    "plain text",
    "naïve café",
    "日本語 テキスト",
    "שלום עולם",
    "हिन्दी",
    "e\u0301",
    "10\u00a0€",
    "a\u3000b",
    "→ ▁▂█",
    "👍🏽",
]


@pytest.mark.parametrize(("text", "shown"), ATTACKS.values(), ids=ATTACKS)
def test_what_a_terminal_would_act_on_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("text", HARMLESS)
def test_the_text_of_every_script_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_no_code_point_of_an_unsafe_category_gets_through() -> None:
    unsafe = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    for code in [*range(0x3000), *range(0xD7F0, 0x10000), *range(0xE0000, 0xE0200), 0x10FFFF]:
        char = chr(code)
        if unicodedata.category(char) in unsafe:
            assert printable(char).isascii(), hex(code)
            assert printable(char).isprintable(), hex(code)


@given(st.text())
def test_printable_text_has_no_controls_and_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in shown)
    assert printable(shown) == shown


def test_one_line_joins_lines_and_escapes_the_rest() -> None:
    assert one_line("  one\n\n\ttwo\x1b[2J ") == r"one two\x1b[2J"


@pytest.mark.parametrize(
    ("text", "cells"), [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("café", 4), ("→█", 2), ("👍", 2)]
)
def test_width_is_counted_in_cells(text: str, cells: int) -> None:
    assert cell_width(text) == cells


@pytest.mark.parametrize(
    ("text", "cells", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("abcd", 1, "…"),
        ("abcd", 0, ""),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("ab日本", 4, "ab…"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
    ],
)
def test_text_is_cut_to_cells_with_an_ellipsis(text: str, cells: int, shown: str) -> None:
    assert truncate(text, cells) == shown


@given(st.text(), st.integers(0, 30))
def test_cut_and_padded_text_has_its_width(text: str, cells: int) -> None:
    cut = truncate(printable(text), cells)
    assert cell_width(cut) <= cells
    assert cell_width(pad(cut, cells)) == cells
    assert pad(cut, cells, right=True).endswith(cut)


def test_pairs_are_aligned_and_printable() -> None:
    assert align([("日本", "1"), ("a\x1b", "two\nlines")], "  ") == ["  日本   1", "  a\\x1b  two\\nlines"]
    assert align([]) == []


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_understand_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert supports_colour(_Terminal())
    assert not supports_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not supports_colour(_Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not supports_colour(_Terminal())


@pytest.mark.parametrize(
    ("text", "cells", "cut"),
    [
        ("render-eu-west-1", 16, "render-eu-west-1"),
        ("render-eu-west-1", 15, "render-…-west-1"),
        ("render-eu-west-1", 3, "r…1"),
        ("render-eu-west-1", 2, "r…"),
        ("render", 0, ""),
        ("日本語日本語", 8, "日本…語"),
    ],
)
def test_names_are_cut_in_their_middle(text: str, cells: int, cut: str) -> None:
    assert truncate_middle(text, cells) == cut


@given(st.text(max_size=30).map(printable), st.integers(0, 40))
def test_a_name_that_is_cut_fits(text: str, cells: int) -> None:
    shown = truncate_middle(text, cells)
    assert cell_width(shown) <= max(cells, 0)
    assert (shown == text) == (cell_width(text) <= cells)


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_json_that_is_printable_has_the_same_value(value: object) -> None:
    for indent in (None, 2):
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        shown = printable_json(text)
        assert json.loads(shown) == value
        assert_inert(shown)
