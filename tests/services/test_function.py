"""What `dagbox.service` takes: functions that answer when they are called with a payload and a request, no others."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import dagbox


async def coroutine(payload: Any, request: Any) -> Any: ...


def generator(payload: Any, request: Any) -> Any:
    yield payload


async def async_generator(payload: Any, request: Any) -> Any:
    yield payload


class AsyncCall:
    async def __call__(self, payload: Any, request: Any) -> Any: ...


def without_request(payload: Any) -> Any: ...


def too_many(payload: Any, request: Any, more: Any) -> Any: ...


def keyword_only(payload: Any, *, request: Any) -> Any: ...


REFUSED = [
    coroutine,
    generator,
    async_generator,
    AsyncCall(),
    partial(coroutine),
    without_request,
    too_many,
    keyword_only,
    lambda: None,
    "greet",
    None,
]


@pytest.mark.parametrize("handler", REFUSED, ids=lambda handler: getattr(handler, "__name__", repr(handler))[:20])
def test_a_handler_that_would_fail_at_each_call_is_refused_at_once(handler: Any) -> None:
    with pytest.raises(dagbox.InvalidArgument, match="payload, request") as refused:
        dagbox.service("greet")(handler)
    assert "\n" not in str(refused.value)


def with_default(payload: Any, request: Any = None, more: int = 1) -> Any:
    return payload


class Called:
    def __call__(self, payload: Any, request: Any) -> Any:
        return payload

    def method(self, payload: Any, request: Any) -> Any:
        return payload


@pytest.mark.parametrize(
    "handler", [with_default, lambda *both: both[0], Called(), Called().method, partial(too_many, more=1), max]
)
def test_whatever_can_be_called_with_both_is_taken(handler: Any) -> None:
    assert dagbox.service("greet")(handler).name == "greet"
