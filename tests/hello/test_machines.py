"""Clients tell who they are, once they are asked; what they claim harms nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagbox.protocol import frames
from dagbox.protocol.claims import FEATURES, MAX_CLAIM_CHARACTERS, Claims
from dagbox.protocol.frames import Kind
from dagbox.protocol.reports import DirectReport
from dagbox.protocol.values import pack, unpack
from dagbox.transport.core import ClientCore
from tests.broker.table import Table, number, peer

ANN = Claims("ann's shop", 4711, "mill", "/srv/shop.py")


def ping(table: Table, client: str, body: Any = None, count: int = 0) -> Any:
    """A client pings; the body of the PONG, or the error."""
    packed = b"" if body is None else body if isinstance(body, bytes) else pack(body)
    message = frames.build(Kind.PING, peer(client), number(count), body=packed)
    table.raw = table.broker.receive(peer(client), message.head, message.tail, table.now)
    [(target, head, tail)] = table.raw
    assert target == peer(client)
    header = frames.parse(head)
    return unpack(frames.body_of(header, head, tail))


def listed(table: Table, **body: Any) -> list[dict[str, Any]]:
    """The clients without the one that asks."""
    found = table.inspect("status", {"course": False, "parts": {"clients": body}})["clients"]
    assert table.control("clients", **body)[: len(found)] == found or "limit" in body
    return [client for client in found if client["id"] != peer("op")[:4].hex()]


def test_a_ping_is_answered_with_the_question_until_the_client_told(table: Table) -> None:
    pong = ping(table, "ann", count=7)
    assert (pong["features"], pong["who"]) == (list(FEATURES), True)
    assert "who" not in ping(table, "ann", ANN.to_wire(), count=8)
    assert "who" not in ping(table, "ann", count=9)
    [client] = listed(table)
    assert {name: client[name] for name in Claims._fields} == ANN._asdict()


def test_a_client_that_begins_with_a_request_is_asked_once(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    assert table.asked == []
    table.tick(0.5)
    table.tick(0.5)
    assert table.asked == [peer("ann")]
    [client] = listed(table)
    assert (client["name"], client["pid"], client["in_flight"]) == ("", 0, 1)


def test_who_left_is_asked_nothing(table: Table) -> None:
    table.register("w1")
    table.ask("ann", 1)
    table.leave("ann")
    table.tick(0.5)
    assert (table.asked, listed(table)) == ([], [])


def test_many_are_asked_by_and_by(table: Table) -> None:
    table.register("w1")
    for count in range(1_000):
        table.ask(f"c{count}", 1)
    before, asked = 0, list[int]()
    while len(table.asked) > before or not asked:
        before = len(table.asked)
        table.tick(0.5)
        asked.append(len(table.asked) - before)
    assert len(set(table.asked)) == len(table.asked) == 1_000
    assert max(asked) < 300


@pytest.mark.parametrize(
    "hello",
    [
        "ann",
        ["ann"],
        {"name": 5},
        {"name": "x" * (MAX_CLAIM_CHARACTERS + 1)},
        {"name": b"ann"},
        {"name": "ann", "pid": -1},
        {"name": "ann", "pid": True},
        {"name": "ann", "pid": 2**40},
        {"name": "ann", "host": None},
        {"name": "ann", "program": ["rm"]},
        {"name": "ann", "tool": 1},
    ],
)
def test_what_is_no_claim_is_an_error_and_changes_nothing(table: Table, hello: Any) -> None:
    ping(table, "ann", ANN.to_wire())
    error = ping(table, "ann", {"hello": hello})
    assert error.code in ("invalid_argument", "limit_exceeded")
    assert table.broker.counters.malformed == 1
    [client] = listed(table)
    assert client["name"] == ANN.name


def test_a_hello_that_is_too_large_or_no_text_is_refused_unread(table: Table) -> None:
    assert ping(table, "ann", {"hello": {"name": "ann", "more": "x" * 5_000}}).code == "limit_exceeded"
    assert ping(table, "ann", b"\x81\xa5hello\x81\xa4name\xa2\xff\xfe").code == "invalid_argument"
    assert listed(table)[0]["name"] == ""


def test_fields_of_later_versions_are_ignored_and_text_stays_as_it_is(table: Table) -> None:
    name = "\x1b[31mann\u202e\n[/b]" + "é" * 150
    ping(table, "ann", {"hello": {"name": name, "colour": "red"}, "later": 1})
    [client] = listed(table)
    assert (client["name"], client["host"], client["tool"]) == (name, "", False)


def test_a_report_of_direct_calls_stands_beside(table: Table) -> None:
    table.register("w1", traits={"direct": True})
    ping(table, "ann", ANN.to_wire() | DirectReport(1, "reader", 40, 0, 0, 0.0, 0.0).to_wire())
    ping(table, "ann", DirectReport(1, "reader", 40, 0, 0, 0.0, 0.0).to_wire())
    ping(table, "ann", DirectReport(2, "reader", 2, 0, 0, 0.0, 0.0).to_wire())
    [client] = listed(table)
    assert (client["name"], client["direct"]) == (ANN.name, 42)


def test_figures_of_clients_the_busiest_first(table: Table) -> None:
    table.register("w1", credit=10)
    table.tick(2.0)
    for count in range(1, 5):
        table.ask("ann", count)
        table.ask("bob", count)
    for count in range(1, 4):
        table.answer("w1", "bob", count)
    table.answer("w1", "ann", 1)
    table.answer("w1", "ann", 2, b"\x80", kind=Kind.ERROR)
    for _ in range(4):
        table.ping("w1", "reader")
        table.tick(0.6)
    first, second = listed(table)
    ids = [peer("bob")[:4].hex(), peer("ann")[:4].hex()]
    assert [first["id"], second["id"]] == ids
    assert [(c["done"], c["errors"], c["in_flight"]) for c in (first, second)] == [(3, 0, 1), (2, 1, 2)]
    assert first["rate"] > second["rate"] > 0
    assert first["age_ms"] == pytest.approx(2_400.0)
    assert first["idle_ms"] == pytest.approx(2_400.0)
    assert len(listed(table, limit=1)) == 1


def test_no_more_are_kept_than_the_limit_has(new_table: Callable[..., Table]) -> None:
    table = new_table(clients=10)
    table.register("w1")
    for count in range(50):
        ping(table, f"c{count}", {"hello": {"name": "x" * MAX_CLAIM_CHARACTERS}})
    assert len(table.broker.directory.clients) == 10
    assert "who" not in ping(table, "one more")
    for count in range(10):
        table.leave(f"c{count}")
    assert table.broker.directory.strangers() == []


# ------------------------------------------------------------------ both machines


def talk(table: Table, core: ClientCore, *messages: frames.Message) -> list[dict[str, Any]]:
    """Carry messages between a client and the broker until both rest; what the client was told in PONGs."""
    pongs, waiting = [], list(messages)
    while waiting:
        message = waiting.pop(0)
        for target, head, tail in table.broker.receive(core.client, message.head, message.tail, table.now):
            if target != core.client:
                continue
            header = frames.parse(head)
            pongs += [unpack(frames.body_of(header, head, tail))] if header.kind == Kind.PONG else []
            again, _ = core.turn([(head, tail)], table.now)
            waiting += again
    return pongs


def hello() -> bytes:
    return pack(ANN.to_wire())


def test_a_client_tells_at_its_first_ping_and_a_broker_that_starts_anew_asks_again() -> None:
    core, first, second = ClientCore(peer("ann"), hello=hello()), Table(), Table()
    assert [pong.get("who", False) for pong in talk(first, core, core.ping(100.0, 1.0)[1])] == [True, False]
    assert [client["name"] for client in listed(first)] == [ANN.name]
    second.register("w1")
    talk(second, core, core.request("reader", b"\x80", 100.0, 30.0)[1])
    assert listed(second)[0]["name"] == ""
    sends = second.broker.tick(second.now + 1)
    again, _ = core.turn([(head, tail) for target, head, tail in sends if target == core.client], second.now)
    talk(second, core, *again)
    assert listed(second)[0]["name"] == ANN.name


def test_a_broker_of_an_earlier_version_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    table.broker._pong = table.broker._pong_who = pack({"epoch": b"an epoch", "version": 2})
    core = ClientCore(peer("ann"), hello=hello())
    assert len(talk(table, core, core.ping(100.0, 1.0)[1])) == 1
    assert (listed(table)[0]["name"], core.in_flight) == ("", 0)


def test_a_client_of_an_earlier_version_works_without_a_name(table: Table) -> None:
    core = ClientCore(peer("ann"))
    table.register("w1")
    talk(table, core, core.ping(100.0, 1.0)[1], core.request("reader", b"\x80", 100.0, 30.0)[1])
    table.run(15.0, ("w1:reader",))
    assert (listed(table)[0]["name"], core.foreign, table.broker.counters.malformed) == ("", 0, 0)
