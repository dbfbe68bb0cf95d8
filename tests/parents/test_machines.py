"""The parent of a request at the machines: told only to who understands it, taken out, kept, and never trusted."""

from __future__ import annotations

from typing import Any

import pytest

from dagbox.protocol import frames
from dagbox.protocol.claims import FEATURES, PARENT
from dagbox.protocol.frames import Flag, Header, Kind, Message
from dagbox.protocol.names import shown_request
from dagbox.protocol.serving import served, serving
from dagbox.protocol.values import pack, unpack
from dagbox.transport.core import ClientCore
from tests.broker.table import Table, number, peer

ANN_1 = peer("ann") + number(1)


def asking(client: str, count: int, parent: bytes, service: str = "reader", body: bytes = b"\x80") -> Message:
    return frames.build(Kind.REQUEST, peer(client), number(count), service.encode(), body, parent=parent)


def traces(table: Table, **which: Any) -> list[dict[str, Any]]:
    found = table.inspect("traces", which)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("size", [1, frames.TAIL_BYTES])
def test_a_worker_gets_what_it_would_get_without_a_parent(table: Table, size: int) -> None:
    table.register("w1")
    body = pack(b"x" * size)
    table.say("bob", asking("bob", 5, ANN_1, body=body))
    [(_, head, tail)] = table.raw
    plain = frames.build(Kind.REQUEST, peer("bob"), number(5), b"reader", body)
    assert Message(head, tail) == plain


@pytest.mark.parametrize("ended", [True, False])
def test_traces_and_requests_under_way_have_it(table: Table, ended: bool) -> None:
    table.register("w1", credit=2)
    table.ask("ann", 1)
    if ended:
        table.answer("w1", "ann", 1)
    table.say("bob", asking("bob", 5, ANN_1))
    under_way = table.inspect("status", {"parts": {"open": {}}})["open"]
    assert [each["parent"] for each in under_way] == ["", shown_request(ANN_1)][ended:]
    table.answer("w1", "bob", 5)
    [trace] = traces(table, parent=shown_request(ANN_1))
    assert (trace["id"], trace["parent"]) == (shown_request(peer("bob") + number(5)), shown_request(ANN_1))
    assert unpack(trace["request"]) == {}
    assert traces(table, parent="nobody-1") == []


def test_a_chain_is_followed_one_level_at_a_time(table: Table) -> None:
    table.register("w1", credit=30)
    parent = b""
    for depth in range(20):
        table.say(f"c{depth}", asking(f"c{depth}", 1, parent))
        parent = peer(f"c{depth}") + number(1)
    for depth in reversed(range(20)):
        table.answer("w1", f"c{depth}", 1)
    shown, depth = shown_request(peer("c0") + number(1)), 0
    while children := traces(table, parent=shown):
        [child] = children
        shown, depth = child["id"], depth + 1
    assert depth == 19


def test_claims_that_go_in_a_circle_are_kept_as_any_other(table: Table) -> None:
    table.register("w1", credit=2)
    table.say("ann", asking("ann", 1, peer("bob") + number(1)))
    table.say("bob", asking("bob", 1, ANN_1))
    for client in ("ann", "bob"):
        table.answer("w1", client, 1)
        assert len(traces(table, parent=shown_request(peer(client) + number(1)))) == 1 or client == "ann"
    assert {trace["parent"] for trace in traces(table)} == {shown_request(peer(c) + number(1)) for c in ("ann", "bob")}


@pytest.mark.parametrize("parent", [bytes(16), peer("bob") + number(5)])
def test_what_cannot_be_a_parent_is_refused(table: Table, parent: bytes) -> None:
    table.register("w1")
    [(client, kind, request, code)] = table.say("bob", asking("bob", 5, parent))
    assert (client, kind, request, code) == ("bob", "error", 5, "protocol")
    assert not table.broker.lifecycle.requests
    assert table.broker.counters.malformed == 1


@pytest.mark.parametrize("length", range(16))
def test_a_parent_that_is_cut_off_is_refused(table: Table, length: int) -> None:
    table.register("w1")
    message = asking("bob", 5, ANN_1[:length] or b"", body=b"")
    head = message.head[:7] + bytes([Flag.PARENT]) + message.head[8:30] + bytes([6]) + message.head[31:]
    [(_, kind, _, code)] = table.say("bob", Message(head))
    assert (kind, code) == ("error", "protocol")
    assert not table.broker.lifecycle.requests


def test_the_flag_means_nothing_on_other_messages(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    assert table.answer("w1", "ann", 1, b"\x01", flags=Flag.PARENT) == [("ann", "reply", 1, b"\x01")]


def test_services_of_the_broker_take_one_too(table: Table) -> None:
    [(_, kind, _, _)] = table.say("bob", asking("bob", 5, ANN_1, "services"))
    assert kind == "reply"


def test_a_repeat_keeps_the_first(table: Table) -> None:
    table.register("w1")
    table.say("bob", asking("bob", 5, ANN_1))
    table.say("bob", asking("bob", 5, peer("eve") + number(9)))
    table.answer("w1", "bob", 5)
    assert [trace["parent"] for trace in traces(table)] == [shown_request(ANN_1)]


def sent(core: ClientCore) -> Header:
    with serving(ANN_1):
        _, message = core.request("reader", b"\x80", 1.0, 5.0)
    header = frames.parse(message.head)
    assert frames.body_of(header, message.head, message.tail) == b"\x80"
    return header


@pytest.mark.parametrize(
    ("features", "told"),
    [(list(FEATURES), True), ([PARENT], True), ([], False), (["hello"], False), (None, False), ([7, {}], False)],
)
def test_a_client_tells_it_to_brokers_that_understand_it(features: Any, told: bool) -> None:
    core = ClientCore(peer("bob"))
    assert not sent(core).flags & Flag.PARENT
    core.receive(frames.build(Kind.PONG, peer("bob"), bytes(8), body=pack({"features": features})).head, None, 1.0)
    assert bool(sent(core).flags & Flag.PARENT) is told
    core.receive(frames.build(Kind.PONG, peer("bob"), bytes(8)).head, None, 1.0)
    assert not sent(core).flags & Flag.PARENT


def test_what_is_served_ends_with_its_block() -> None:
    assert served() == b""
    with serving(ANN_1):
        with serving(b"inner"):
            assert served() == b"inner"
        assert served() == ANN_1
    assert served() == b""
