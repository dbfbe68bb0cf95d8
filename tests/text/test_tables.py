"""Tables that stream."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagbox.text.tables import GAP, LEAST_CELLS, SAMPLE_ROWS, Cell, TextTable
from dagbox.text.terminal import cell_width


def lines(table: TextTable, *rows: list[Cell]) -> list[str]:
    return [GAP.join(row) for row in table.rows(rows)]


def test_columns_are_as_wide_as_what_is_in_them_and_numbers_are_aligned_right() -> None:
    table = TextTable(("key", "owner", "left"))
    shown = lines(table, [("a", False), ("日本", False), ("3.5", True)], [("bb", False), ("x", False), ("10", True)])
    assert shown == ["key  owner  left", "a    日本    3.5", "bb   x        10"]
    assert (table.count, table.truncated) == (2, False)


def test_a_column_of_numbers_may_have_gaps_but_no_text() -> None:
    assert lines(TextTable(("n",)), [("100", True)], [("", False)], [("7", True)]) == ["  n", "100", "   ", "  7"]
    assert lines(TextTable(("n", "")), [("100", True), ("", False)], [("x", False), ("", False)])[2] == "x    "


def test_no_rows_are_no_table() -> None:
    assert lines(TextTable(("a", "b"))) == []


def test_no_cell_commands_the_terminal() -> None:
    shown = lines(TextTable(("a\x1b",)), [("\x1b[2J\n", False)])
    assert shown == ["a\\x1b", "\\x1b[2J\\n"]


def test_the_widest_columns_are_cut_to_fit() -> None:
    table = TextTable(("key", "text"), fit=20)
    shown = lines(table, [("k" * 30, False), ("日" * 30, False)], [("k", False), ("short", False)])
    assert all(cell_width(line) <= 20 for line in shown)
    assert shown[1].count("…") == 2
    assert table.truncated


@given(st.lists(st.lists(st.text(max_size=40), min_size=3, max_size=3), min_size=1, max_size=5), st.integers(30, 90))
def test_a_line_fits_if_its_columns_can(texts: list[list[str]], fit: int) -> None:
    table = TextTable(("a", "b", "c"), fit=fit)
    assert all(cell_width(line) <= fit for line in lines(table, *([(text, False) for text in row] for row in texts)))


def test_columns_keep_their_least_width_where_there_is_no_room() -> None:
    shown = lines(TextTable(("a", "b"), fit=4), [("x" * 20, False), ("y" * 20, False)])
    assert [len(part) for part in shown[1].split(GAP)] == [LEAST_CELLS, LEAST_CELLS]


def test_a_table_of_any_length_is_laid_out_as_it_comes() -> None:
    read = 0

    def rows(count: int) -> Iterator[list[Cell]]:
        nonlocal read
        for number in range(count):
            read += 1
            yield [(str(number), True)]

    shown = TextTable(("n",)).rows(rows(1_000_000))
    assert next(shown) == ["  n"]
    assert read == SAMPLE_ROWS
    tracemalloc.start()
    try:
        for _ in zip(range(20_000), shown, strict=False):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("width", [3, 12])
def test_a_later_cell_that_is_wider_stands_out(width: int) -> None:
    rows = [*[[("abc", False), ("x", False)] for _ in range(SAMPLE_ROWS)], [("y" * width, False), ("x", False)]]
    assert lines(TextTable(("k", "v")), *rows)[-1] == "y" * width + GAP + "x"
