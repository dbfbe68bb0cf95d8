"""Results in every format."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgpack

import dagbox
from dagbox.shell.render.grid import Grid
from dagbox.shell.render.show import View, show
from dagbox.shell.render.text import plain
from dagbox.shell.results import Detail, Nodes, Outcome, Result, Rows
from dagbox.text.amounts import plural
from dagbox.text.terminal import cell_width, printable, truncate
from tests.hostile import EVIL, assert_inert

ADA = dagbox.Node(
    "user",
    "ada",
    True,
    12,
    {"name": "Ada", "team": dagbox.Ref("team", "core"), "long": {"text": "x" * 70}, "n": [1, 2.5, None, True]},
    {
        "posts": [dagbox.Node("post", "p1", True, 3, {"title": "Hi"}), dagbox.Node("post", "p9", False, 0, None)],
        "team": [dagbox.Node("team", "core", True, 1, "plain")],
        "fans": [],
    },
    {"posts": 5},
)


def drawn(result: Result, format_: str = "auto", screen: int | None = None, people: bool = True) -> list[str]:
    return [plain(line) for line in show(result, View(format_, screen, people))]


def test_a_tree_shows_data_version_missing_and_cut() -> None:
    assert drawn(Nodes([ADA])) == [
        "user/ada  version 12",
        '├─ name: "Ada"',
        "├─ team: → team/core",
        "├─ long",
        f'│  └─ text: "{"x" * 70}"',
        "├─ n: [1, 2.5, null, true]",
        "├─ posts  2 records, 5 more cut by the limit",
        "│  ├─ post/p1  version 3",
        '│  │  └─ title: "Hi"',
        "│  └─ post/p9  missing",
        "├─ team",
        "│  └─ team/core  version 1",
        '│     └─ "plain"',
        "└─ fans  none",
    ]


ALIKE: dict[Any, Any] = {
    1: "a",
    "1": "b",
    False: "c",
    "false": "d",
    b"x": "e",
    "": "f",
    "a": "g",
    2.0: "h",
    "2.0": "i",
    None: 0,
    "null": 0,
}
"""Fields whose names differ, though some have the same text."""


def test_fields_of_different_names_never_look_alike() -> None:
    (*_, last) = lines = drawn(Nodes([dagbox.Node("b", "k", True, 1, {**ALIKE, "long": "x" * 100})]))
    names = [line[3:].partition(": ")[0] for line in lines[1:]]
    assert len(set(names)) == len(ALIKE) + 1
    assert (names[:2], last[3:]) == (["1", '"1"'], f'long: "{"x" * 100}"')
    (line,) = drawn(Nodes([dagbox.Node("b", "k", True, 1, [{1: "a", "1": "b"}])]))[1:]
    assert line == '└─ [0]: {1: "a", "1": "b"}'


def test_json_is_the_wire_form_one_document_a_line() -> None:
    (line, other) = drawn(Nodes([ADA, ADA]), people=False)
    assert line == other
    found = json.loads(line)
    assert found["data"]["team"] == {"$ref": "team/core"}
    assert found["relations"]["posts"][1] == {"bucket": "post", "key": "p9", "found": False}
    assert found["more"] == {"posts": 5}


def test_raw_is_the_data_alone() -> None:
    records = [dagbox.Record("a", "b", 1, "plain\ntext"), dagbox.Record("a", "c", 1, {"x": 1})]
    assert drawn(Nodes(records), "raw") == ["plain\ntext", '{"x": 1}']
    rows: list[dict[str, Any]] = [{"key": "a", "n": 1}, {"key": "b", "n": None}]
    assert drawn(Rows(("key", "n"), rows), "raw") == ["a\t1", "b\tnull"]
    assert drawn(Rows(("key", "n"), rows, raw="key"), "raw") == ["a", "b"]


def test_a_table_lines_up_and_says_how_many() -> None:
    result = Rows(
        ("key", "owner", "left"),
        [{"key": "a", "owner": "日本", "left": 3.5}, {"key": "bb", "owner": "x", "left": 10}],
        "lock",
    )
    assert drawn(result) == ["key  owner  left", "a    日本    3.5", "bb   x        10"]
    assert result.notes == ["2 locks"]


def test_a_table_that_does_not_fit_is_cut_and_says_so() -> None:
    result = Rows(("key", "text"), [{"key": "a", "text": "x" * 100}], "row")
    lines = drawn(result, "table", 30)
    assert all(cell_width(line) <= 30 for line in lines)
    assert lines[1].endswith("…")
    assert any("cut to the screen" in note for note in result.notes)
    whole = Rows(("key", "text"), [{"key": "a", "text": "x" * 100}], "row")
    assert "x" * 100 in drawn(whole, "table")[1]


def test_no_rows_are_said_and_not_drawn() -> None:
    result = Rows(("key",), [], "lock")
    assert drawn(result) == []
    assert result.notes == ["no locks"]


def test_columns_may_be_fields() -> None:
    records = [dagbox.Record("u", "a", 1, {"name": "Ada", "n": 1}), dagbox.Record("u", "b", 2, [1])]
    assert drawn(Nodes(records, table=True, fields=("name",))) == [
        "record  version  name",
        "u/a           1  Ada",
        "u/b           2  ",
    ]


def test_what_is_stored_cannot_command_the_terminal() -> None:
    bad = EVIL
    for format_ in ("tree", "table", "json"):
        for result in (
            Nodes(
                [
                    dagbox.Node(
                        "u",
                        bad,
                        True,
                        1,
                        {bad: bad, "list": [bad] * 20},
                        {bad: [dagbox.Node("u", bad, False, 0, None)]},
                    )
                ]
            ),
            Rows(("key",), [{"key": bad}], "row"),
            Detail("d", {bad: bad}),
        ):
            text = "\n".join(drawn(result, format_))
            assert_inert(text)


def test_text_is_measured_and_cut_by_columns() -> None:
    assert cell_width("日本") == 4
    assert truncate("日本語", 5) == "日本…"
    assert truncate("abc", 3) == "abc"
    assert printable("a\x1bb") == "a\\x1bb"


def test_a_tree_deeper_than_the_stack_is_drawn() -> None:
    node = dagbox.Node("a", "leaf", True, 1, None)
    for number in range(2000):
        node = dagbox.Node("a", str(number), True, 1, {}, {"r": [node]})
    assert len(drawn(Nodes([node]))) == 2000 * 2 + 2


def test_nouns_have_their_number() -> None:
    assert (plural(1, "lock"), plural(2000, "entry"), plural(0, "key")) == ("1 lock", "2,000 entries", "0 keys")


def endless(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {"key": f"k{number:07}", "data": {"n": number, "text": "some text of a usual length"}}


def test_many_rows_stream_with_flat_memory() -> None:
    for format_ in ("table", "json", "raw", "tree"):
        peaks = []
        for count in (1_000, 20_000):
            tracemalloc.start()
            lines = show(Rows(("key", "data"), endless(count), "row"), View(format_, 80))
            drawn_lines = sum(1 for _ in lines)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert drawn_lines >= count
        # Other threads of the process allocate, too; rows that are kept would cost megabytes.
        assert peaks[1] < peaks[0] + 1_000_000, (format_, peaks)


def test_the_first_rows_are_drawn_before_the_last_ones_are_there() -> None:
    grid = Grid(("n",), None)
    lines = grid.draw({"n": number} for number in itertools.count())
    assert len(list(itertools.islice(lines, 1000))) == 1000


def test_an_outcome_is_a_sentence_or_a_document() -> None:
    outcome = Outcome("deleted user/ada", {"deleted": True})
    assert drawn(outcome) == ["deleted user/ada"]
    assert drawn(outcome, people=False) == ['{"deleted": true}']


def test_an_extension_is_shown_as_json_writes_it() -> None:
    value = msgpack.ExtType(5, b"hi")
    for data in (value, [value], {"a": value}, {"a": [value] * 30}):
        (line, *lines) = drawn(Nodes([dagbox.Record("b", "k", 1, data)]))
        assert '{"$ext": [5, "aGk="]}' in " ".join([line, *lines])
