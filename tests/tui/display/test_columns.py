"""Tables as plain values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagbox.tui.display.columns import Column, Filter, Row, fit, ordered


def column(name: str, width: int, rank: int = 0, **more: Any) -> Column:
    return Column(name, name, width, lambda data: [(str(data[name]), "")], lambda data: data[name], rank=rank, **more)


class TestColumns:
    def test_columns_that_do_not_fit_are_left_out_by_rank(self) -> None:
        columns = [column("a", 10), column("b", 10, 2), column("c", 10, 1)]
        assert [c.id for c, _ in fit(columns, 21)] == ["a", "c"]
        assert [c.id for c, _ in fit(columns, 32)] == ["a", "b", "c"]
        assert [c.id for c, _ in fit(columns, 5)] == ["a"]

    def test_room_that_is_left_goes_to_those_that_grow(self) -> None:
        columns = [column("a", 5, grows=True, most=8), column("b", 5, grows=True)]
        assert [width for _, width in fit(columns, 31)] == [8, 22]

    @given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), min_size=1, max_size=8), st.integers(1, 200))
    def test_what_fits_never_passes_the_width(self, shapes: list[tuple[int, int]], width: int) -> None:
        columns = [column(str(n), size, rank) for n, (size, rank) in enumerate(shapes)]
        fitted = fit(columns, width)
        assert fitted
        if len(fitted) > 1:
            assert sum(cells for _, cells in fitted) + len(fitted) - 1 <= width

    def test_rows_are_ordered_by_value_numbers_as_numbers(self) -> None:
        rows = [Row(str(n), {"a": n}) for n in (10, 9, 100)]
        assert [row.key for row in ordered(rows, column("a", 3), False)] == ["9", "10", "100"]
        assert [row.key for row in ordered(rows, column("a", 3), True)] == ["100", "10", "9"]

    def test_mixed_values_are_ordered_without_an_error(self) -> None:
        rows = [Row(str(n), {"a": value}) for n, value in enumerate((3, "x", None, 1.5, "A"))]
        assert len(ordered(rows, column("a", 3), False)) == 5

    @pytest.mark.parametrize(
        ("words", "keys"),
        [("", "123"), ("dead", "2"), ("!dead", "13"), ("state:live", "13"), ("live three", "3"), ("name:live", "")],
    )
    def test_filters(self, words: str, keys: str) -> None:
        columns = [column("name", 5), column("state", 5)]
        table = {"1": ("one", "live"), "2": ("two", "dead"), "3": ("three", "live")}
        rows = [Row(key, {"name": name, "state": state}) for key, (name, state) in table.items()]
        found = Filter(words)
        assert "".join(row.key for row in rows if found.matches(row, columns)) == keys
