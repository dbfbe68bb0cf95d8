"""get, put, del, scan, buckets, on a directory that no node serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dagbox
from tests.commands.conftest import Run


def test_put_then_get_as_a_table_and_as_json(run: Run) -> None:
    written = run("put", "user/ada", '{"name": "Ada", "team": {"$ref": "team/core"}}')
    assert (written.status, written.out, written.err) == (0, "user/ada  version 1\n", "")
    assert run("get", "user/ada").out == "user/ada  version 1\n  name  Ada\n  team  @team/core\n"
    (row,) = run("get", "user/ada", "--format", "json").rows
    assert row == {
        "bucket": "user",
        "key": "ada",
        "found": True,
        "version": 1,
        "data": {"name": "Ada", "team": {"$ref": "team/core"}},
    }
    with dagbox.open("data") as db:
        assert db.get("user", "ada") == {"name": "Ada", "team": dagbox.Ref("team", "core")}


def test_nested_reads_show_what_was_missing_and_what_was_cut(run: Run) -> None:
    with dagbox.open("data") as db:
        posts = [db.put("post", {"n": n, "author": dagbox.Ref("user", "ada")}, key=f"p{n}") for n in range(3)]
        db.put("user", {"posts": posts, "team": dagbox.Ref("team", "gone")}, key="ada")
    shown = run("get", "user/ada", "--with", "posts: via posts limit 2 { author: via author }  team: via team")
    assert shown.status == 0
    assert "  posts: 2 and 1 more\n    post/p0  version 1\n" in shown.out
    assert "      author: 1\n        user/ada  version 4\n" in shown.out
    assert shown.out.endswith("  team: 1\n    team/gone  not found\n")
    (row,) = run("get", "user/ada", "--with", '{"posts": {"path": "posts", "limit": 1}}', "--format", "json").rows
    assert row["relations"]["posts"][0]["data"]["n"] == 0
    assert row["more"] == {"posts": 2}


def test_get_of_several_shows_those_there_are_and_fails_for_the_others(run: Run) -> None:
    run("put", "user/a", "1")
    ended = run("get", "user/a", "user/b", "--data")
    assert (ended.status, ended.out) == (1, "1\n")
    assert ended.err == "dagbox: error: no record user/b\n"


@pytest.mark.parametrize("source", ["-", "@./value.json"])
def test_put_takes_its_value_from_standard_input_and_from_a_file(run: Run, source: str) -> None:
    Path("value.json").write_text('{"from": "file"}')
    assert run("put", "a/b", source, stdin='{"from": "file"}').status == 0
    assert run("get", "a/b", "--data").rows == [{"from": "file"}]


@pytest.mark.parametrize("name", ["user", "user/"])
def test_put_without_a_key_makes_one(run: Run, name: str) -> None:
    (row,) = run("put", name, "1", "--format", "json").rows
    assert row["bucket"] == "user"
    assert len(row["key"]) == 36
    assert run("get", f"user/{row['key']}", "--data").out == "1\n"


def test_every_value_that_json_has_no_form_for_comes_back_as_it_went_in(run: Run) -> None:
    text = json.dumps(
        {
            "bytes": {"$bytes": "aGk="},
            "time": {"$time": "2026-01-31T12:00:00+00:00"},
            "ref": {"$ref": "post/p/1"},
            "float": {"$float": "-inf"},
            "map": {"$map": [[1, "one"]]},
            "plain": {"$$ref": "not one"},
        }
    )
    run("put", "a/b", text)
    assert run("get", "a/b", "--data").out == text + "\n"
    with dagbox.open("data") as db:
        assert db.get("a", "b")["bytes"] == b"hi"
        assert db.get("a", "b")["ref"] == dagbox.Ref("post", "p/1")


def test_conditions_of_writes(run: Run) -> None:
    assert run("put", "a/b", "1", "--new").status == 0
    refused = run("put", "a/b", "2", "--new")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err == "dagbox: error: a/b should be absent but is at version 1: read it again and retry\n"
    assert run("put", "a/b", "2", "--if-version", "1").status == 0
    assert run("del", "a/b", "--if-version", "1").status == 1
    assert run("get", "a/b", "--data").out == "2\n"


def test_a_write_with_an_older_fencing_token_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with dagbox.open("data") as db:
        db.lock("lock/a").acquire().release()
        lease = db.lock("lock/a").acquire()
        last = lease.token
    assert run("put", "a/b", "1", "--fence", f"lock/a={last}").status == 0
    refused = run("put", "a/b", "2", "--fence", f"lock/a={last - 1}")
    assert refused.status == 1
    assert f"older than {last}" in refused.err
    refused = run("put", "a/b", "2", "--fence", "lock/a=4000000000000000000")
    assert refused.status == 1
    assert f"was never granted, the last one is {last}" in refused.err
    monkeypatch.setenv("DAGBOX_LOCK_TOKEN", str(last))
    assert run("put", "a/b", "3", "--fence", "lock/a").status == 0
    assert run("del", "a/b", "--fence", f"lock/a={last - 1}").status == 1


def test_del_deletes_what_there_is_and_fails_for_the_rest(run: Run) -> None:
    run("put", "a/b", "1")
    ended = run("del", "a/b", "a/c")
    assert (ended.status, ended.out, ended.err) == (1, "a/b  deleted\n", "dagbox: error: no record a/c\n")
    run("put", "a/b", "1")
    assert run("del", "a/b", "--format", "json").rows == [{"bucket": "a", "key": "b", "deleted": True}]


def test_scan_goes_by_prefix_bounds_and_direction(run: Run) -> None:
    with dagbox.open("data") as db:
        for key in ("a1", "a2", "a3", "b1"):
            db.put("n", {"key": key}, key=key)

    def keys(*options: str) -> list[str]:
        return [row["key"] for row in run("scan", *options, "--format", "json").rows]

    assert keys("n") == ["a1", "a2", "a3", "b1"]
    assert keys("n/a") == ["a1", "a2", "a3"]
    assert keys("n", "--start", "a2", "--stop", "b") == ["a2", "a3"]
    assert keys("n", "--reverse", "-n", "2") == ["b1", "a3"]
    assert run("scan", "n/b", "--data").out == '{"key": "b1"}\n'
    table = run("scan", "n/b").out.splitlines()
    assert [line.split() for line in table] == [["key", "version", "data"], ["b1", "4", '{"key":', '"b1"}']]
    none = run("scan", "n/zzz")
    assert (none.status, none.out, none.err) == (0, "", "no records\n")


def test_a_table_shows_nothing_that_a_terminal_would_act_on(run: Run) -> None:
    with dagbox.open("data") as db:
        db.put("n", {"text": "\x1b[31mred\n"}, key="k\x1b[2J")
    for command in (("scan", "n"), ("get", "n/k\x1b[2J")):
        shown = run(*command).out
        assert "\x1b" not in shown
        assert "\\x1b[2J" in shown


def test_buckets_are_listed_with_their_records(run: Run) -> None:
    run("put", "b/1", "1")
    run("put", "a/1", "1")
    run("put", "a/2", "1")
    assert run("buckets").out == "bucket  records\na             2\nb             1\n"
    assert run("buckets", "data", "--format", "json").rows == [
        {"bucket": "a", "records": 2},
        {"bucket": "b", "records": 1},
    ]
