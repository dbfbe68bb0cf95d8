"""Values as JSON and back: nothing is lost, and what is no JSON is told with its place."""

from __future__ import annotations

import json
import math
import struct
from datetime import timedelta, timezone
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dagbox
from dagbox.notation.json import dump, from_plain, load, to_plain, write
from dagbox.notation.problems import SyntaxProblem
from dagbox.notation.scanner import Scanner, quote
from dagbox.shell.grammar.parse import parse

REFS = st.builds(dagbox.Ref, st.text("abc-_.", min_size=1), st.text(min_size=1).filter(lambda key: key.strip() == key))
TIMES = st.datetimes(timezones=st.just(timezone(timedelta(hours=2))))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | REFS
    | TIMES
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=4))
)
FIELDS = st.text() | st.sampled_from(["$ref", "$$ref", "$bytes", "$time", "$map", "$float", "$"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(FIELDS, inner, max_size=4)
        | st.dictionaries(st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_a_value_survives_json(value: Any) -> None:
    text = dump(value)
    assert "\n" not in text
    assert load(text) == value
    assert from_plain(json.loads(text)) == value


@given(VALUES)
@example(dagbox.Ref("_", "\0"))
def test_what_the_shell_prints_it_reads_in_a_command(value: Any) -> None:
    for text in (dump(value), write(value)):
        for command, expected in ((f"put a/b [{text}]", [value]), (f"put a/b {text}", value)):
            parsed = parse(command)
            assert parsed.problem is None, str(parsed.problem)
            assert parsed.values["value"] == expected


def test_a_number_that_is_none_survives() -> None:
    assert math.isnan(load(dump(float("nan"))))


@pytest.mark.parametrize("bits", ["7ff8000000000000", "fff8000000000000", "7ff8000000000001", "ffffffffffffffff"])
def test_each_nan_survives_by_its_bits(bits: str) -> None:
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert struct.pack(">d", load(dump(value))).hex() == bits


@pytest.mark.parametrize("text", ["nan:7ff0000000000000", "nan:0000000000000000", "nan:7ff8", "nan:", "-nan", "NaN"])
def test_bits_that_are_no_nan_are_refused(text: str) -> None:
    with pytest.raises(SyntaxProblem, match="takes"):
        load(dump({"$float": text}).replace("$$", "$"))


@given(st.text(min_size=1))
def test_a_quoted_word_is_read_as_it_was(word: str) -> None:
    scanner = Scanner(quote(word))
    found = scanner.read_word()
    assert found is not None
    assert (found.value, scanner.at_end) == (word, True)


@given(st.text(max_size=40))
def test_no_text_is_too_strange_to_be_read(text: str) -> None:
    for command in (
        text,
        f"get {text}",
        f"get a/b {{ {text}",
        f"put a/b {text}",
        f"query {text}",
        f"assert {text}",
        f"ls {text}",
    ):
        parsed = parse(command)
        for span in parsed.spans:
            assert 0 <= span.start <= span.end <= len(command)
        if parsed.problem is not None:
            assert 0 <= parsed.problem.start <= parsed.problem.end <= len(command)


@given(st.text(alphabet="{}[](),:;\"'|>@$#%.-<=abX1 \n\\", max_size=30))
def test_no_row_of_marks_is_too_strange_to_be_read(text: str) -> None:
    for command in (f"get a/b {text}", f"put a/b {text}", f"query {text}", f"rule {text}"):
        parse(command)


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("{", "} is missing", 1),
        ('{"a": nan}', "nan is not JSON", 6),
        ('{"a": 01}', "01 is not JSON", 6),
        ("[1,]", "a JSON value expected", 3),
        ('"a\x01"', "control character", 2),
        ("1 2", "ends before this", 2),
        ('{"$time": "2026-01-31"}', "needs a time zone", 0),
        ('{"$ref": "user"}', "not bucket/key", 0),
        ("NaN", '{"$float": "nan"}', 0),
        ("[" * 1000, "nested deeper than 200", 201),
    ],
)
def test_what_is_no_json(text: str, message: str, place: int) -> None:
    with pytest.raises(SyntaxProblem, match=r".") as caught:
        load(text)
    assert message in str(caught.value)
    assert caught.value.start == place


def test_rows_of_the_store_are_shown_as_plain_maps() -> None:
    info = dagbox.LockInfo("k", "me", 7, False, 1.5, [])
    assert to_plain(info)["key"] == "k"
    node = dagbox.Node("a", "b", True, 1, {"x": dagbox.Ref("c", "d")})
    assert to_plain(node)["data"] == {"x": {"$ref": "c/d"}}


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [('{"a": 1, "a": 2}', 9, 12), ('[{"b": {"x": 1, "y": 2, "x": {}}}]', 24, 27), ('{"\\u0061": 1, "a": 2}', 14, 17)],
)
def test_a_member_that_is_there_twice_is_an_error_at_its_place(text: str, start: int, end: int) -> None:
    for read in (lambda: load(text), lambda: parse(f"put u/a {text}").problem):
        try:
            problem = read()
        except SyntaxProblem as raised:
            problem = raised
            offset = 0
        else:
            offset = len("put u/a ")
        assert problem is not None
        assert "is there twice" in str(problem)
        assert (problem.start - offset, problem.end - offset) == (start, end)
