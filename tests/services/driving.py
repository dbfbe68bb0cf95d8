"""Requests in, answers out, as a worker's driver has them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from dagbox.protocol.values import pack, unpack
from dagbox.services.base import Failed, Reply, Request

Ask = Callable[..., Any]
_ids = count(1)


def new_request(body: object, client: bytes = b"client-1", request_id: int | None = None) -> Request:
    """A request with a packed body; bytes are taken as they are."""
    number = next(_ids) if request_id is None else request_id
    return Request(client, number.to_bytes(8, "big"), body if isinstance(body, bytes) else pack(body))


def answer_of(outcome: object) -> Any:
    """The unpacked result of an outcome, or the error that it failed with."""
    if isinstance(outcome, Reply):
        return unpack(outcome.body)
    assert isinstance(outcome, Failed)
    return outcome.error
