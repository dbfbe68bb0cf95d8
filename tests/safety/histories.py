"""Checks a history of calls: what clients were told must fit one order of all writes, and real time.

The store gives each write a version that rises, so the order of the writes is known and need not be searched for. A
history is linearizable if

1. no two writes have one version, and what a read gives for a version is what its write wrote;
2. what ended before a call began comes before it: a read gives no lower version than any call on its key that ended
   before it began told of, and a write has a higher one;
3. nothing is read before its write began, and nothing whose writer was told that it was refused;
4. a write that asked for a version comes right after that one: no other write of the key is between them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

Event = dict[str, Any]


def problems_of(events: Sequence[Event], total: int) -> list[str]:
    """What is wrong with a history; `total` is what all accounts have together."""
    found: list[str] = []
    registers: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event["op"] in ("read", "write"):
            registers[event["key"]].append(event)
    for key, calls in registers.items():
        deleted = any(event["op"] == "delete" and event["key"] == key for event in events)
        found += [f"{key}: {problem}" for problem in _register(calls, deleted)]
    found += _audits(events, total)
    found += _grants([event for event in events if event["op"] == "grant"])
    found += _counts([event for event in events if event["op"] == "count"])
    return found


def _register(calls: Sequence[Event], deleted: bool) -> list[str]:
    writes, found = _versions(calls)
    wrote = {event["value"]: event for event in calls if event["op"] == "write"}
    for event in calls:
        if event["op"] != "read" or event["outcome"] != "ok" or not event["version"]:
            continue
        writer = wrote.get(event["value"])
        if writer is None:
            found.append(f"read a value that nobody wrote: {event}")
        elif writer["outcome"] == "refused":
            found.append(f"read what was refused: {event} of {writer}")
        elif writer.get("version", event["version"]) != event["version"]:
            found.append(f"read a value under another version: {event} of {writer}")
        elif event["ended"] < writer["began"]:
            found.append(f"read before it was written: {event} of {writer}")
    found += _real_time([event for event in calls if event["outcome"] == "ok" and event["version"]])
    found += _absent([event for event in calls if event["outcome"] == "ok"], deleted)
    order = sorted(writes)
    for event in calls:
        if event["op"] == "write" and event["outcome"] == "ok" and event["expected"]:
            after = bisect_right(order, event["expected"])
            if after < len(order) and order[after] < event["version"]:
                found.append(f"wrote over version {order[after]} that it had not seen: {event}")
    return found


def _versions(calls: Sequence[Event]) -> tuple[dict[int, Any], list[str]]:
    """Version -> value, as far as known."""
    known: dict[int, Any] = {}
    found = []
    for event in calls:
        if event["outcome"] == "ok" and event["version"]:
            value = known.setdefault(event["version"], event["value"])
            if value != event["value"]:
                found.append(f"version {event['version']} is both {value} and {event['value']}")
    return known, found


def _real_time(calls: Sequence[Event]) -> list[str]:
    """Calls with a version, against what had ended before they began."""
    found = []
    ended = sorted(calls, key=lambda event: event["ended"])
    at, floor = 0, 0
    for event in sorted(calls, key=lambda event: event["began"]):
        while at < len(ended) and ended[at]["ended"] < event["began"]:
            floor = max(floor, ended[at]["version"])
            at += 1
        if event["version"] < floor or (event["op"] in ("write", "count") and event["version"] == floor):
            found.append(f"after version {floor} was known: {event}")
    return found


def _absent(calls: Sequence[Event], deleted: bool) -> list[str]:
    """A key that was never removed does not go away."""
    if deleted:
        return []
    there = min((event["ended"] for event in calls if event["version"]), default=float("inf"))
    return [f"it had been there: {event}" for event in calls if not event["version"] and event["began"] > there]


def _audits(events: Sequence[Event], total: int) -> list[str]:
    audits = [event for event in events if event["op"] == "audit" and event["outcome"] == "ok"]
    wrong = [f"the accounts have {event['sum']} together, not {total}: {event}" for event in audits]
    return [problem for problem, event in zip(wrong, audits, strict=True) if event["sum"] != total] + _real_time(audits)


def _grants(grants: Sequence[Event]) -> list[str]:
    """Tokens rise: each grant's is above all that were granted before it was asked for."""
    found = [] if len({event["token"] for event in grants}) == len(grants) else ["one token was granted twice"]
    return found + _real_time([{**event, "version": event["token"], "op": "write"} for event in grants])


def _counts(counts: Sequence[Event]) -> list[str]:
    """Counting under a lock: no count is lost, and tokens rise with versions."""
    done = sorted((event for event in counts if event["outcome"] == "ok"), key=lambda event: event["version"])
    unknown = {event["value"] for event in counts if event["outcome"] == "unknown"}
    found = _real_time(done)
    for before, after in pairwise(done):
        missing = set(range(before["value"] + 1, after["value"])) - unknown
        if after["value"] <= before["value"] or missing:
            found.append(f"counts were lost: {before} and then {after}")
        if after["token"] < before["token"]:
            found.append(f"an older token wrote after a newer one: {before} and then {after}")
    return found
