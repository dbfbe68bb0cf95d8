"""A write that its client was told is refused is never done later, though a copy of it may still be on its way."""

from __future__ import annotations

from typing import Any

from dagbox.protocol.values import pack, unpack
from dagbox.services import writer
from dagbox.services.base import Reply, Request
from dagbox.services.writer import Writer
from dagbox.store.memory import MemoryStore


def ask(service: Writer, number: int, operation: dict[str, Any]) -> Any:
    """The answer to a request: a value, or the code of an error."""
    (outcome,) = service.handle([Request(b"client--", number.to_bytes(8, "big"), pack([operation]), None)], 0.0)
    assert isinstance(outcome, Reply), outcome
    (answer,) = unpack(outcome.body)
    return getattr(answer, "code", answer)


def test_a_repeat_of_a_refused_write_stays_refused() -> None:
    store = MemoryStore()
    service = Writer(store)
    create = {"op": "put", "bucket": "b", "key": "k", "data": b"\x01", "if_version": 0}
    assert ask(service, 1, create) == ["k", 1]
    assert ask(service, 2, create) == "conflict"
    assert ask(service, 3, {"op": "delete", "bucket": "b", "key": "k"}) is True
    assert ask(service, 2, create) == "conflict"
    assert store.get("b", "k") is None
    assert ask(service, 4, create)[0] == "k"


def test_refusals_are_remembered_up_to_a_number() -> None:
    service = Writer(MemoryStore())
    wrong = {"op": "put", "bucket": "b", "key": "k", "data": b"\x01", "if_version": 9}
    for number in range(writer.REFUSALS_KEPT + 10):
        assert ask(service, number, wrong) == "conflict"
    assert len(service._refused) == writer.REFUSALS_KEPT
