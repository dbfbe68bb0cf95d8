"""What texts are understood to be."""

from __future__ import annotations

from pathlib import Path

import pytest

import dagbox
from dagbox.shell.grammar.parse import parse
from dagbox.shell.grammar.parsed import FileValue, Prefix, Query, ReadRequest, RecordTarget, Redirect
from dagbox.shell.grammar.splitting import split_commands

NESTED = """get user/ada {
  posts: post/p1, post/p2 { author: via author }
  team: via team  fans: where follows(X, $key) in user limit 10
}"""


def values(text: str, bucket: str | None = None) -> dict[str, object]:
    """The values that were given in a text that must be right."""
    parsed = parse(text, bucket)
    assert parsed.problem is None, str(parsed.problem)
    return {name: value for name, value in parsed.values.items() if value not in (None, []) and value is not False}


def test_nested_relations_become_the_wire_form() -> None:
    assert values(NESTED) == {
        "refs": [dagbox.Ref("user", "ada")],
        "relations": {
            "posts": [
                {"bucket": "post", "key": "p1"},
                {"bucket": "post", "key": "p2", "relations": {"author": {"path": "author"}}},
            ],
            "team": {"path": "team"},
            "fans": {"query": "follows(X, $key)", "var": "X", "bucket": "user", "limit": 10},
        },
    }


@pytest.mark.parametrize(
    ("block", "relations"),
    [
        ("{}", {}),
        ("{ a: b/c, d: e/f }", {"a": [{"bucket": "b", "key": "c"}], "d": [{"bucket": "e", "key": "f"}]}),
        ("{ a: via b; c: via d.e.0 }", {"a": {"path": "b"}, "c": {"path": "d.e.0"}}),
        ("{ a: via b in c limit 3 }", {"a": {"path": "b", "bucket": "c", "limit": 3}}),
        ("{ a: via b limit 3 in c }", {"a": {"path": "b", "bucket": "c", "limit": 3}}),
        (
            "{ a: (b/c, d/e) limit 1 { f: via g } }",
            {"a": {"keys": [["b", "c"], ["d", "e"]], "limit": 1, "relations": {"f": {"path": "g"}}}},
        ),
        ('{ "my posts": b/"a b" }', {"my posts": [{"bucket": "b", "key": "a b"}]}),
        ("{ a: b/c:d }", {"a": [{"bucket": "b", "key": "c:d"}]}),
        (
            "{ via: via/x  where: where/y }",
            {"via": [{"bucket": "via", "key": "x"}], "where": [{"bucket": "where", "key": "y"}]},
        ),
        ("{ in: via in  limit: via limit }", {"in": {"path": "in"}, "limit": {"path": "limit"}}),
        (
            "{ a: where p(X, Y), not q(Y), Y != $key var Y }",
            {"a": {"query": "p(X, Y), not q(Y), Y != $key", "var": "Y"}},
        ),
        ('{ a: where p("X", Y) b: via c }', {"a": {"query": 'p("X", Y)', "var": "Y"}, "b": {"path": "c"}}),
        ('{"a": [["b", "c"]], "d": {"path": "e"}}', {"a": [["b", "c"]], "d": {"path": "e"}}),
        ('{ a: {"path": "b"} c: via d }', {"a": {"path": "b"}, "c": {"path": "d"}}),
        (
            "{ a: via b { c: via d { e: f/g { h: via i } } } }",
            {
                "a": {
                    "path": "b",
                    "relations": {
                        "c": {
                            "path": "d",
                            "relations": {"e": [{"bucket": "f", "key": "g", "relations": {"h": {"path": "i"}}}]},
                        }
                    },
                }
            },
        ),
    ],
)
def test_relations(block: str, relations: dict[str, object]) -> None:
    parsed = parse(f"get user/ada {block}")
    assert parsed.problem is None, str(parsed.problem)
    assert parsed.values["relations"] == relations


def test_every_beginning_of_a_nested_read_is_unfinished_until_the_brace_closes() -> None:
    opened = NESTED.index("{") + 1
    for end in range(opened, len(NESTED)):
        parsed = parse(NESTED[:end])
        assert parsed.unfinished, NESTED[:end]
    assert parse(NESTED).problem is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("get user/ada user/bob", {"refs": [dagbox.Ref("user", "ada"), dagbox.Ref("user", "bob")]}),
        ('get "user/a b" user/"c d"', {"refs": [dagbox.Ref("user", "a b"), dagbox.Ref("user", "c d")]}),
        ("get user/a/b/c", {"refs": [dagbox.Ref("user", "a/b/c")]}),
        (
            'get {"bucket": "user", "key": "ada", "relations": {"t": {"path": "team"}}}',
            {"refs": [ReadRequest(dagbox.Ref("user", "ada"), {"t": {"path": "team"}})]},
        ),
        ("put user/ada 1", {"target": RecordTarget("user", "ada"), "value": 1}),
        ("put user/ [1, 2]", {"target": RecordTarget("user", None), "value": [1, 2]}),
        (
            "put user/ada @~/x.json --new",
            {"target": RecordTarget("user", "ada"), "value": FileValue(Path("~/x.json").expanduser()), "new": True},
        ),
        (
            'put u/a {"t": @team/core} --ttl 5m',
            {"target": RecordTarget("u", "a"), "value": {"t": dagbox.Ref("team", "core")}, "ttl": 300.0},
        ),
        ("put u/a @post/p1", {"target": RecordTarget("u", "a"), "value": dagbox.Ref("post", "p1")}),
        ("put u/a @../x", {"target": RecordTarget("u", "a"), "value": FileValue(Path("../x"))}),
        ('put u/a @"./x y" --new', {"target": RecordTarget("u", "a"), "value": FileValue(Path("x y")), "new": True}),
        (
            "put u/a @~nobody-of-that-name/x",
            {"target": RecordTarget("u", "a"), "value": FileValue(Path("~nobody-of-that-name/x"))},
        ),
        ("call svc @/x.json", {"service": "svc", "payload": FileValue(Path("/x.json"))}),
        ("call svc @post/p1", {"service": "svc", "payload": dagbox.Ref("post", "p1")}),
        ("put u/a 1 --if-version=0", {"target": RecordTarget("u", "a"), "value": 1, "if_version": 0}),
        ("del a/b --yes c/d", {"refs": [dagbox.Ref("a", "b"), dagbox.Ref("c", "d")], "yes": True}),
        ("scan user/ad --limit 5 --reverse", {"prefix": Prefix("user", "ad"), "limit": 5, "reverse": True}),
        ("scan user --fields name,team", {"prefix": Prefix("user", ""), "fields": ["name", "team"]}),
        ("lock a b --ttl 500ms --wait 2", {"keys": ["a", "b"], "ttl": 0.5, "wait": 2.0}),
        ("LOCKS", {}),
        ("assert likes(ada, 'p 1', -3, 2.5), rains", {"facts": [("likes", ("ada", "p 1", -3, 2.5)), ("rains", ())]}),
        ("query a(X), X > 3", {"query": Query("a(X), X > 3", {})}),
        ("query a(X). --limit 3", {"query": Query("a(X)", {}), "limit": 3}),
        (
            "query a(X, Y) fetch X in b { c: via d }, Y in e --limit 2",
            {
                "query": Query(
                    "a(X, Y)", {"X": {"bucket": "b", "relations": {"c": {"path": "d"}}}, "Y": {"bucket": "e"}}
                ),
                "limit": 2,
            },
        ),
        ("query fetch(X), in(X)", {"query": Query("fetch(X), in(X)", {})}),
        ("rule a(X) :- b(X), % c\n c(X).", {"text": "a(X) :- b(X), % c\n c(X)."}),
        ("set format json", {"name": "format", "value": "json"}),
        ("# get nothing", {}),
        ("   ", {}),
    ],
)
def test_commands(text: str, expected: dict[str, object]) -> None:
    found = values(text)
    assert found == expected


@pytest.mark.parametrize(
    ("text", "redirect"),
    [
        ("ls | jq .", Redirect(program="jq .")),
        ("ls > out.json", Redirect(path=Path("out.json"))),
        ("ls >> 'my file'", Redirect(path=Path("my file"), append=True)),
        ("get a/b { c: via d } | jq '.x | .y' > z", Redirect(program="jq '.x | .y' > z")),
        ("query a(X, b) > out", Redirect(path=Path("out"))),
        ("query a(X), X > 3. > out", Redirect(path=Path("out"))),
        ("query (a(X)) | cat", Redirect(program="cat")),
        ('put a/b {"x": "a | b > c"}', None),
        ("query a(X), X > 3", None),
    ],
)
def test_redirections(text: str, redirect: Redirect | None) -> None:
    parsed = parse(text)
    assert parsed.problem is None, str(parsed.problem)
    assert parsed.redirect == redirect


@pytest.mark.parametrize(
    ("text", "bucket", "ref"),
    [
        ("get ada", "user", dagbox.Ref("user", "ada")),
        ("get /a/b", "user", dagbox.Ref("user", "a/b")),
        ("get post/p1", "user", dagbox.Ref("post", "p1")),
    ],
)
def test_a_bucket_in_use_is_the_bucket_of_bare_keys(text: str, bucket: str, ref: dagbox.Ref) -> None:
    assert values(text, bucket) == {"refs": [ref]}


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("gte user/ada", "no command gte: did you mean get?", (0, 3)),
        ("zzzzz x", "`help` lists them", (0, 5)),
        ("get", "BUCKET/KEY... is missing", (3, 3)),
        ("get ada ", "names no record: write bucket/key", (4, 7)),
        ("get user/ada } x", "cannot stand here", (13, 14)),
        ("get user/ada { a: via b a: via c }", "there twice", (24, 25)),
        ("get user/ada { a: b } ", "a: takes bucket/key", (18, 19)),
        ("get user/ada { a: via b limit x } ", "whole number", (30, 31)),
        ("get user/ada { a: where p(b) } ", "no variable", (24, 28)),
        ("get user/ada --limti 3", "no option --limti", (13, 20)),
        ("put a/b {a: 1} ", "double quotes", (9, 10)),
        ("put a/b {'a': 1} ", "double quotes", (9, 10)),
        ('put a/b {"a": yes} ', "yes is not JSON", (14, 17)),
        ('put a/b {"a": 1,} ', "double quotes", (16, 17)),
        ("put a/b [1 2] ", ", or ] expected", (11, 12)),
        ("put a/b 1e999 ", "too large", (8, 13)),
        ("put a/b 1 2", "no more than this", (10, 11)),
        ('put a/b {"$bytes": "!"} ', "base64", (8, 23)),
        ("put a/b @ada.json ", "a file is written @./ada.json", (8, 17)),
        ("put a/b @ ", "@ takes bucket/key", (8, 9)),
        ('put a/b {"x": @./p1} ', "in the place of a whole value", (14, 19)),
        ("call svc [@/p1] ", "in the place of a whole value", (10, 14)),
        ("put user 1 ", "write user/KEY, or user/", (4, 8)),
        ("lock a --ttl soon", "a time expected", (13, 17)),
        ("scan user --limit many", "whole number", (18, 22)),
        ("scan user --format xml", "none of tree, table, json, raw", (19, 22)),
        ("assert likes(Ada, x)", "is a variable", (13, 16)),
        ("query a(X)) ", "never opened", (10, 11)),
        ("ls > ", "file's name is missing", (3, 5)),
        ('get {"bucket": 1} ', "a read is", (4, 17)),
    ],
)
def test_problems_name_what_is_wrong_and_where(text: str, message: str, place: tuple[int, int]) -> None:
    problem = parse(text).problem
    assert problem is not None
    assert not parse(text).unfinished
    assert message in str(problem)
    assert (problem.start, problem.end) == place


@pytest.mark.parametrize(
    "text",
    [
        "get a/b {",
        'put a/b {"a',
        'put a/b {"a": [1,',
        "put a/b [",
        "rule a(X) :- b(X),",
        "rule a(X) :-",
        "assert a(b,",
        "query a(X",
        'get "a/b',
        "get a/b { c: via d {",
        "get a/b { c: (d/e,",
        "query a(X) fetch X in b {",
        "ls |",
    ],
)
def test_what_is_open_wants_another_line(text: str) -> None:
    assert parse(text).unfinished, str(parse(text).problem)


def test_nothing_is_too_deep_to_be_refused() -> None:
    for text in ("put a/b " + "[" * 5000, "get a/b " + "{ x: via y " * 3000, "get a/b {" + '"a":{' * 5000):
        problem = parse(text).problem
        assert problem is not None


def test_lines_are_joined_until_a_command_is_complete() -> None:
    lines = [
        "# a comment",
        "",
        "get user/ada {",
        "  t: via team",
        "}",
        "ls \\",
        "  user",
        'put a/b {"x":',
        "",
        "1}",
        "get c/d {",
    ]
    found = list(split_commands(lines, lambda: None))
    assert found == [
        ("get user/ada {\n  t: via team\n}", 3),
        ("ls \n  user", 6),
        ('put a/b {"x":\n\n1}', 8),
        ("get c/d {", 11),
    ]


def test_a_long_value_is_joined_without_reading_it_again_for_every_line() -> None:
    body = ",\n".join(f'  "field{number}": {{"text": "it\'s (open"}}' for number in range(3000))
    text = f"put a/b {{\n{body}\n}}"
    ((joined, first),) = split_commands(text.split("\n"), lambda: None)
    assert (joined, first) == (text, 1)
