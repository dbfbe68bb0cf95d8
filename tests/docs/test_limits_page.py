"""docs/limits.md names every limit of requests, with what the code holds them to."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dagbox
from dagbox.protocol.operations import limits

ROOT = Path(__file__).parents[2]
UNLISTED = {
    "MAX_LOCK_OPERATIONS": "the client sends one at a time",
    "MAX_PATH_BYTES": "the system's own limit",
    "MAX_TIMEOUT_MS": "far above the limit of a query's time",
    "MAX_PREDICATE_FILTER_BYTES": "a filter that matches nothing",
    "MAX_QUERY_ID_BYTES": "made by the client",
    "MAX_VARIABLE_BYTES": "part of a goal, which has a limit",
}


def test_every_limit_of_requests_has_a_row_or_a_reason() -> None:
    source = (ROOT / "scripts" / "limits_docs.py").read_text(encoding="utf-8")
    listed = {
        part.value.rpartition(":")[2]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.JoinedStr)
        for part in node.values
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }
    names = {name for name in vars(limits) if name.startswith("MAX_")}
    assert names - listed == set(UNLISTED)


@pytest.mark.parametrize(
    ("row", "error", "bucket", "key", "data"),
    [
        ("| name of a bucket | 120 bytes | `BadBucket` |", dagbox.BadBucket, "b" * 121, "k", 1),
        ("| key of a record | 511 bytes | `BadKey` |", dagbox.BadKey, "b", "k" * 512, 1),
        ("| data of one record, packed | 64.0 MiB | |", dagbox.LimitExceeded, "b", "k", b"x" * (64 << 20)),
    ],
    ids=["bucket", "key", "data"],
)
def test_the_first_value_beyond_a_limit_is_refused_and_nothing_is_written(
    tmp_path: Path, row: str, error: type[Exception], bucket: str, key: str, data: object
) -> None:
    assert row in (ROOT / "docs" / "limits.md").read_text(encoding="utf-8").splitlines()
    with dagbox.open(tmp_path) as db:
        with pytest.raises(error):
            db.put(bucket, data, key=key)
        assert db.buckets() == {}
