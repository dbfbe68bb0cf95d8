"""Polls that are not as they should be: from another version, a damaged recording, a node that lies."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dagbox
from dagbox.tui.display import text
from dagbox.tui.display.columns import Column, Row, ordered
from dagbox.tui.polling.body import read_body
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.screens.locks import rows as locks
from dagbox.tui.screens.logic import rows as logic
from dagbox.tui.screens.overview import rows as overview
from dagbox.tui.screens.overview.service import service_text
from dagbox.tui.screens.overview.trouble import queue_reason
from dagbox.tui.screens.overview.worker import worker_text
from dagbox.tui.screens.store import rows as store
from dagbox.tui.screens.store.screen import store_text
from dagbox.tui.screens.traces import rows as traces
from dagbox.tui.screens.traces.bodies import body_text, waterfall_text
from tests.effort import examples
from tests.tui import sample

TABLES: list[tuple[Callable[[NodeModel], list[Row]], Sequence[Column]]] = [
    (overview.service_rows, overview.SERVICES),
    (overview.worker_rows, overview.WORKERS),
    (overview.event_rows, overview.EVENTS),
    (overview.letter_rows, overview.LETTERS),
    (lambda model: traces.trace_rows(model.list_of("traces")), traces.TRACES),
    (lambda model: traces.trace_rows(model.list_of("slowest")), traces.TRACES),
    (traces.open_rows, traces.OPEN),
    (traces.held_rows, traces.HELD),
    (traces.break_rows, traces.BREAKS),
    (store.bucket_rows, store.BUCKETS),
    (locks.lock_rows, locks.LOCKS),
    (logic.rule_rows, logic.RULES),
    (logic.predicate_rows, logic.PREDICATES),
]


def show_all(model: NodeModel) -> None:
    """Make every table and text that the screens show of the model."""
    for rows, columns in TABLES:
        found = rows(model)
        for row in found:
            for column in columns:
                column.text(row.data)
        for column in columns:
            ordered(found, column, True)
    for service in model.list_of("services"):
        assert service_text(service, queue_reason(service, model.list_of("workers"))).plain
    for worker in model.list_of("workers"):
        assert worker_text(worker, "live").plain
    assert store_text(model, 80).plain
    for trace in model.list_of("traces"):
        assert waterfall_text(trace, 80).plain


ODD = st.sampled_from([None, -1, 2**63, float("nan"), float("inf"), "", "x", b"\xff", [], {}, [None], {"a": 1}, True])


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value."""
    found = [before] if before else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        found += paths(each, (*before, key))
    return found


POLL = sample.poll(100) | sample.parts(100)
PATHS = paths(POLL)


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PATHS), ODD | st.just("gone")), min_size=1, max_size=3))
def test_a_poll_with_anything_in_it_is_refused_or_shown(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    poll: Any = copy.deepcopy(POLL)
    for path, odd in changes:
        place = poll
        try:
            for step in path[:-1]:
                place = place[step]
            if odd == "gone":
                del place[path[-1]]
            else:
                place[path[-1]] = odd
        except (KeyError, IndexError, TypeError):
            continue
    model = NodeModel()
    model.take(sample.poll(99))
    try:
        model.take(poll)
    except dagbox.ProtocolError:
        assert model.at == sample.BEGIN + 99
    show_all(model)


@pytest.mark.parametrize("part", list(sample.parts(0)))
def test_an_odd_part_is_a_problem_of_its_own_and_the_rest_is_shown(part: str) -> None:
    model = NodeModel()
    model.take(POLL | {part: [{"odd": 1}]})
    assert list(model.problems) == [part]
    assert model.at == sample.BEGIN + 100
    show_all(model)


def test_the_summary_of_the_locks_is_no_odd_part() -> None:
    model = NodeModel()
    model.take(sample.poll(0) | {"locks": {"keys": 2, "waiting": 2}})
    assert not model.problems
    assert not model.has("locks")


BODIES = [
    msgpack.packb({b"key": 1, 5: 2, 2.5: 3, None: 4, True: 5}),
    b"\x82\xa1a\x01\xa1a\x02",  # the same key twice
    b"\x82\xa11\x01\x01\x02",  # a text and a number that look the same
    b"\x91" * 3000 + b"\xc0",  # three thousand levels
    b"\x81\xa1k" * 500 + b"\xc0",
    b"\x81\x91\x01\x02",  # a list as a key
    b"\xc1",  # no MessagePack
    b"\xdf\xff\xff\xff\xff",  # four billion fields, of which none is there
    msgpack.packb(dagbox.Ref("a", "b").key, datetime=True),
    b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # a time that there is not
    b"\xa3\xff\xfe\xfd",  # text that is no UTF-8
]


@pytest.mark.parametrize("data", BODIES, ids=lambda data: data[:8].hex())
def test_an_odd_body_is_shown(data: bytes) -> None:
    assert body_text(data)
    assert traces.subject_of(data) is not None
    assert text.as_json(read_body(data).value)


def test_keys_that_look_the_same_are_told_apart() -> None:
    assert text.as_json({"1": "text", 1: "number", b"1": "bytes"}, None).count('"1"') == 1


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_a_body(data: bytes) -> None:
    assert body_text(data)
    traces.subject_of(data)
