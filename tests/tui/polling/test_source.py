"""Polls of a live node: what each asks the broker for, and what becomes of the answer."""

from __future__ import annotations

from typing import Any

import pytest

from dagbox.broker import Broker
from dagbox.tui.polling.request import PollRequest
from dagbox.tui.polling.source import LiveSource
from tests.broker.table import Table
from tests.trace_log.test_machine import Traffic

TRACES = PollRequest(frozenset(("traces",)))


class Connection:
    """A database whose node is a broker on a table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.asked: list[Any] = []

    def call(self, service: str, body: Any, **how: Any) -> Any:
        answer = self.table.inspect(service, body)
        if isinstance(answer, Exception):
            raise answer
        self.asked.append(body)
        return answer


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def source(table: Table, monkeypatch: pytest.MonkeyPatch) -> LiveSource:
    made = LiveSource("nowhere", clock=lambda: table.now)
    connection = Connection(table)
    monkeypatch.setattr(made, "connect", lambda: connection)
    monkeypatch.setattr(made, "disconnect", lambda: None)
    return made


def seqs(poll: dict[str, Any]) -> list[int]:
    return [trace["seq"] for trace in poll["traces"]]


def test_a_poll_has_the_traces_of_those_before(table: Table, source: LiveSource) -> None:
    traffic = Traffic(table)
    traffic.end(2)
    [poll] = source.polls(TRACES)
    assert seqs(poll) == [2, 1]
    traffic.end(1)
    [poll] = source.polls(TRACES)
    assert seqs(poll) == [3, 2, 1]
    assert "missed" not in poll


def test_a_poll_tells_what_it_missed(table: Table, source: LiveSource) -> None:
    traffic = Traffic(table)
    source.polls(TRACES)
    traffic.end(130)
    [poll] = source.polls(TRACES)
    assert (len(poll["traces"]), poll["missed"]) == (100, {"traces": 30})


def test_who_looked_elsewhere_meanwhile_has_missed_nothing(table: Table, source: LiveSource) -> None:
    traffic = Traffic(table)
    source.polls(TRACES)
    [poll] = source.polls(PollRequest())
    assert "traces" not in poll
    traffic.end(130)
    [poll] = source.polls(TRACES)
    assert "missed" not in poll
    assert seqs(poll)[0] == 130


def test_numbers_begin_anew_with_the_broker(table: Table, source: LiveSource) -> None:
    Traffic(table).end(20)
    source.polls(TRACES)
    table.broker = Broker(table.now, b"a second")
    Traffic(table).end(30)
    [poll] = source.polls(TRACES)
    assert seqs(poll) == list(range(30, 0, -1))
    assert "missed" not in poll


def test_a_log_of_another_form_is_a_problem_of_the_traces(
    table: Table, source: LiveSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Connection.call
    monkeypatch.setattr(Connection, "call", lambda *a, **k: call(*a, **k) | {"traces": {"last": 1}})
    [poll] = source.polls(TRACES)
    assert "traces" not in poll
    assert list(poll["problems"]) == ["traces"]


def test_a_poll_tells_the_filter_of_its_traces(source: LiveSource) -> None:
    [all_of_them] = source.polls(TRACES)
    [some] = source.polls(PollRequest(frozenset(("traces",)), (("service", "lock"),)))
    assert "follow" not in all_of_them
    assert some["follow"] == {"service": "lock"}
