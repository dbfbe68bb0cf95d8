"""An async database driven step by step from blocking code, so that one contract suite serves both clients."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

from dagbox.client.values import Future


def _plain(value: Any) -> Any:
    if isinstance(value, Driven):
        return value._inner
    if isinstance(value, list):
        return [item._inner if isinstance(item, Driven) else item for item in value]
    return value


class _Iterated:
    """Stands for an async iterator that is one of records: blocking, with the other attributes of it."""

    def __init__(self, inner: Any, items: Iterator[Any]) -> None:
        self._inner = inner
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return self._items

    def __next__(self) -> Any:
        return next(self._items)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Driven:
    """Stands for an object of the async client: coroutines are run, blocks and iterators are blocking ones."""

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def method(*args: Any, **kwargs: Any) -> Any:
            clean = {key: _plain(value) for key, value in kwargs.items()}
            return self._drive(found(*map(_plain, args), **clean))

        return method

    def _drive(self, value: Any) -> Any:
        if isinstance(value, Future):
            return value  # it has its result after the block, and the tests ask for that
        if inspect.isawaitable(value):
            return self._wrap(self._loop.run_until_complete(value))
        if hasattr(value, "__anext__"):
            return _Iterated(value, self._iterate(value))
        return self._wrap(value)

    def _wrap(self, value: Any) -> Any:
        return Driven(value, self._loop) if type(value).__name__.startswith("Async") else value

    def _iterate(self, iterator: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._loop.run_until_complete(anext(iterator))
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run_until_complete(iterator.aclose())

    def __len__(self) -> int:
        return len(self._inner)

    def __enter__(self) -> Any:
        return self._wrap(self._loop.run_until_complete(self._inner.__aenter__()))

    def __exit__(self, *exc: Any) -> Any:
        return self._loop.run_until_complete(self._inner.__aexit__(*exc))
