"""The traces that are followed: those of a client, a service, a bucket, a key, and those that a
handler asked for. Knows no Textual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagbox
from dagbox.tui.polling.body import read_body
from dagbox.tui.polling.request import Map

_DEPTH = 32


def followed(traces: Sequence[Map], follow: Mapping[str, str]) -> list[Map]:
    """The traces that match; the broker has chosen them so already, a recording may hold others too.

    Args:
        follow: some of service, client, id (their beginnings), bucket, key, parent.
    """
    return [trace for trace in traces if matches(trace, follow)] if follow else list(traces)


def matches(trace: Map, follow: Mapping[str, str]) -> bool:
    """Return True if a trace is followed."""
    for name in ("client", "id"):
        if not str(trace.get(name, "")).startswith(follow.get(name, "")):
            return False
    if follow.get("parent") and trace.get("parent") != follow["parent"]:
        return False
    service = follow.get("service", "")
    if service and all(step["who"] != service for step in trace["timeline"] if step["what"] in ("queued", "called")):
        return False
    bucket, key = follow.get("bucket", ""), follow.get("key", "")
    return not (bucket or key) or names_record(read_body(trace["request"]).value, bucket, key)


def names_record(value: Any, bucket: str, key: str, depth: int = 0) -> bool:
    """Return True if a request names the bucket (and key) anywhere."""
    if depth > _DEPTH:
        return False
    if isinstance(value, dagbox.Ref):
        return (not bucket or value.bucket == bucket) and (not key or value.key == key)
    if isinstance(value, dict):
        if (not bucket or value.get("bucket") == bucket) and (not key or value.get("key") == key):
            return True
        return any(names_record(part, bucket, key, depth + 1) for part in value.values())
    if isinstance(value, list):
        if bucket and value[:1] == [bucket] and (not key or value[1:2] == [key]):
            return True
        return any(names_record(part, bucket, key, depth + 1) for part in value)
    return False
