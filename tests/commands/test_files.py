"""import, export, backup, restore, verify, compact."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgpack
import pytest

import dagbox
from dagbox.protocol.values import pack
from tests.commands.conftest import Run


def record(key: str, data: Any = 1, **more: Any) -> str:
    return json.dumps({"bucket": "n", "key": key, "data": data} | more)


def test_export_then_import_gives_the_same_export(run: Run) -> None:
    with dagbox.open("data") as db:
        for number in range(2500):
            db_key = f"{number:05}"
            if number % 500 == 0:
                db.put("odd", {"b": b"\x00", "r": dagbox.Ref("n", db_key), "é": ["\u2028"]}, key=f"k/{db_key}")
        with db.batch() as batch:
            for number in range(2500):
                batch.put("n", {"number": number}, key=f"{number:05}")
    assert run("export", "all.jsonl").out == "2,505 lines written to all.jsonl\n"
    assert run("import", "all.jsonl", "--at", "copy").out == "2,505 records\n"
    assert run("export", "--at", "copy").out == Path("all.jsonl").read_text()
    assert list(Path().glob(".all*")) == []


def test_every_kind_of_value_comes_through_byte_by_byte(run: Run) -> None:
    values = {
        "ext": msgpack.ExtType(5, b"\x00\xff"),
        "deep": [{"a": [None, True, -(2**63), 2**64 - 1, 1.5, float("inf")]}],
        "map": {1: "one", b"b": dagbox.Ref("a", "b")},
        "forms": [{"$ref": "text"}, {"$$ref": 1}, {"$ref": 1, "more": 2}, {"$map": []}],
        "time": datetime(1969, 7, 20, 20, 17, 40, 123456, tzinfo=UTC),
        "text": "\u2028\x00\U0001f600",
    }
    with dagbox.open("data") as db:
        for name, value in values.items():
            db.put("v", value, key=name)
        before = {record.key: pack(record.data) for record in db.scan("v")}
    run("export", "all.jsonl")
    assert run("import", "all.jsonl", "--at", "copy").status == 0
    with dagbox.open("copy") as db:
        assert {record.key: pack(record.data) for record in db.scan("v")} == before


def test_export_of_chosen_buckets_with_versions(run: Run) -> None:
    run("put", "a/1", "1")
    run("put", "b/1", '{"$bytes": "aGk="}')
    assert run("export", "--bucket", "b", "--versions").rows == [
        {"bucket": "b", "key": "1", "data": {"$bytes": "aGk="}, "version": 2}
    ]
    unknown = run("export", "out.jsonl", "--bucket", "c")
    assert (unknown.status, unknown.err) == (1, "dagbox: error: no bucket 'c': the buckets are a, b\n")
    nowhere = run("export", "nowhere/x.jsonl")
    assert (nowhere.status, nowhere.err) == (1, "dagbox: error: nowhere/x.jsonl: No such file or directory\n")
    assert not Path("out.jsonl").exists()


def test_an_expired_record_is_left_out_and_a_living_one_gets_the_rest_of_its_time(run: Run) -> None:
    lines = [record("dead", expires="2001-01-01T00:00:00+00:00"), record("alive", expires="2099-01-01T00:00:00+00:00")]
    done = run("import", "--format", "json", stdin="\n".join(lines))
    assert done.rows == [{"records": 1, "facts": 0, "rules": 0, "expired": 1, "broken": 0}]
    (row,) = run("export").rows
    assert row["key"] == "alive"
    expires = datetime.fromisoformat(row["expires"])
    assert abs(expires - datetime(2099, 1, 1, tzinfo=UTC)) < timedelta(minutes=1)


BROKEN = [
    ("{", "it is not JSON (column 2"),
    ('"text"', "it is not an object"),
    ('{"bucket": "n", "key": "k"}', 'it has no "data"'),
    (record(""), "bad key '': a key has at least one character"),
    (record("k").replace('"n"', '"~n"'), "bad bucket name '~n'"),
    (record("k", wrong=1), "it has a field 'wrong'; there may be bucket, key, data, version, expires"),
    (record("k", expires="soon"), "its expires is not a time such as"),
    (record("k", expires="2001-01-01T00:00:00"), "its expires has no time zone"),
    (record("k", expires="2999-01-01T00:00:00+00:00"), "its expires is more than a hundred years away"),
    (record("k", {"$bytes": "!"}), '{"$bytes": ...} takes base64 text'),
    (record("k", 2**70), "cannot pack the value"),
    ('{"bucket": "b", "key": "k", "data": {"a": 1, "a": 2}}', 'the member "a" is there twice'),
    (record("k", float("nan")), 'NaN is not JSON: write {"$float": "nan"}'),
    ("[" * 100_000, "it is nested too deep"),
    ('{"fact": []}', "its fact is not a list of a predicate and its arguments"),
    ('{"rule": 3}', "its rule is not a text"),
]


@pytest.mark.parametrize(("line", "message"), BROKEN, ids=[message[:30] for _, message in BROKEN])
def test_the_error_for_a_broken_line_has_its_number_and_nothing_of_its_batch_is_written(
    run: Run, line: str, message: str
) -> None:
    lines = [record(f"{number:05}") for number in range(1500)]
    ended = run("import", stdin="\n".join([*lines, "", line, record("after")]))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"dagbox: error: line 1502: {message}")
    assert ended.err.count("\n") == 1
    assert run("buckets", "--format", "json").rows == [{"bucket": "n", "records": 1000}]


def test_keep_going_skips_broken_lines_and_reports_them(run: Run) -> None:
    ended = run("import", "--keep-going", stdin="\n".join([record("a"), "{", record("b"), "[]"]))
    assert (ended.status, ended.out) == (1, "2 records, 2 broken\n")
    assert [line.split(":")[2] for line in ended.err.splitlines()] == [" line 2", " line 4"]
    assert [row["key"] for row in run("scan", "n", "--format", "json").rows] == ["a", "b"]


def test_what_the_store_refuses_is_reported_with_its_lines(run: Run) -> None:
    lines = [record(f"{number:05}") for number in range(1200)]
    ended = run("import", stdin="\n".join([*lines, '{"fact": ["Not_a_predicate", "a"]}', record("z")]))
    assert ended.status == 1
    assert ended.err.startswith("dagbox: error: line 1201: predicate")
    assert run("buckets", "--format", "json").rows == [{"bucket": "n", "records": 1000}]


def test_bytes_that_are_no_text_are_a_broken_line(run: Run, tmp_path: Path) -> None:
    Path("bad.jsonl").write_bytes(record("a").encode() + b"\n\xff\xfe\n")
    ended = run("import", "bad.jsonl")
    assert (ended.status, ended.err) == (1, "dagbox: error: line 2: it is not UTF-8 (byte 1)\n")


def test_lines_that_are_data_go_into_a_bucket(run: Run) -> None:
    lines = '{"id": 7, "name": "x"}\n{"id": "b/c", "name": "y"}\n'
    assert run("import", "--bucket", "u", "--key", "id", stdin=lines).out == "2 records\n"
    assert [row["key"] for row in run("scan", "u", "--format", "json").rows] == ["7", "b/c"]
    assert run("import", "--bucket", "made", stdin='1\n"two"\n').status == 0
    assert run("scan", "made", "--data").out == '1\n"two"\n'
    without = run("import", "--bucket", "u", "--key", "id", stdin='{"name": "z"}')
    assert (without.status, without.err.split(": ", 2)[2][:22]) == (1, "line 1: it has no fiel")


def test_a_backup_is_restored_verified_and_compacted(run: Run) -> None:
    run("put", "a/b", "1")
    assert run("backup", "copy").out == "copied to copy\n"
    assert run("put", "a/b", "2").status == 0
    assert run("restore", "copy", "old").out == "1 record restored to old, version 1\n"
    assert run("get", "a/b", "--data", "--at", "old").out == "1\n"
    assert run("verify", "old").out == "old: 1 record in 1 bucket, version 1\nsound\n"
    (report,) = run("verify", "old", "--format", "json").rows
    assert report["sound"] is True
    (sizes,) = run("compact", "old", "--format", "json").rows
    assert 0 < sizes["bytes_after"] <= sizes["bytes_before"]
    assert run("get", "a/b", "--data", "--at", "old").out == "1\n"
    again = run("restore", "copy", "old")
    assert again.status == 1
    assert "not empty" in again.err


def test_damage_is_reported(run: Run) -> None:
    with dagbox.open("data") as db:
        db.put("a", {"text": "needle" * 10}, key="b")
    file = Path("data/data.mdb")
    content = file.read_bytes()
    assert b"needleneedle" in content
    file.write_bytes(content.replace(b"needleneedle", b"needleNEEDLE"))
    ended = run("verify")
    assert ended.status == 1
    assert "a/b: its data is not what was written (checksum)\n" in ended.out
    assert ended.err == "dagbox: error: data is damaged: 1 problem\n"
    assert run("verify", "--format", "json").rows[0]["sound"] is False
