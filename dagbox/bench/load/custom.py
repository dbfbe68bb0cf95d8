"""A workload of the user's own: a Python file with functions.

    def setup(db): ...              optional: once before the run
    def run(db, number): ...        one request; an async function if the client has several in flight
    def teardown(db): ...           optional: once after the run

`number` counts the requests of a connection. Values that `run` returns are thrown away; what it raises is counted as
an error.
"""

from __future__ import annotations

import runpy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from inspect import iscoroutinefunction
from itertools import count
from typing import Any

from dagbox.bench.load.plan import AwaitedRequest, Request
from dagbox.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class CustomWork:
    """The functions of a file."""

    path: str
    functions: dict[str, Any]

    @classmethod
    def load(cls, path: str) -> CustomWork:
        """Run the file, and take its functions.

        Raises:
            InvalidArgument: it cannot be run, or has no function `run`.
        """
        try:
            names = runpy.run_path(path, run_name="dagbox_bench")
        except Exception as error:  # the program's own faults, whatever they are
            raise InvalidArgument(f"{path} cannot be run: {type(error).__name__}: {error}") from error
        if not callable(names.get("run")):
            raise InvalidArgument(f"{path} has no function run(db, number): it makes one request")
        return cls(path, names)

    @property
    def awaits(self) -> bool:
        """True if `run` is an async function."""
        return iscoroutinefunction(self.functions["run"])

    def call(self, name: str, db: Any) -> None:
        """Call `setup` or `teardown`, if the file has it."""
        function: Callable[[Any], object] | None = self.functions.get(name)
        if function is not None:
            function(db)

    @contextmanager
    def blocking(self, db: Any) -> Iterator[Request]:
        """Give a function that makes one request."""
        run, numbers = self.functions["run"], count()
        yield lambda: run(db, next(numbers))

    @asynccontextmanager
    async def awaited(self, db: Any) -> AsyncIterator[AwaitedRequest]:
        """Give a function that makes one request, to be awaited."""
        run, numbers = self.functions["run"], count()
        yield lambda: run(db, next(numbers))
