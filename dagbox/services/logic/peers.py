"""Queries of all workers: a directory in which each worker shows its own, and finds those that are to be stopped.

    <worker>.running    the worker's queries that take long, as `running` lists them; written anew every `SHOW_S`
    <query>.stop        somebody wants that query stopped

Rules:

1. A worker writes its own file only, whole, and removes it when nothing of its own takes long.
2. What was not written for `STALE_S` is of a worker that is gone: it is not listed, and the next one removes it.
3. Nothing here is needed for an answer: where the directory cannot be written, a worker lists only its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dagbox.errors import DagBoxError
from dagbox.protocol.values import pack, unpack
from dagbox.text.files import make_private_directory

SHOW_S = 0.2
"""The interval at which a worker writes, and the age from which others see a query, in seconds."""
STALE_S = 3.0
_SHOWN = ".running"
_STOP = ".stop"


class PeerQueries:
    """One worker's view of the directory.

    Args:
        directory: made when it is first needed.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        self._own = self._directory / f"{os.getpid()}-{os.urandom(4).hex()}{_SHOWN}"
        self._shown = False

    def show(self, running: Sequence[dict[str, Any]]) -> None:
        """Tell the others what runs here."""
        if not running and not self._shown:
            return
        try:
            if not running:
                self._shown = False
                self._own.unlink(missing_ok=True)
                return
            make_private_directory(self._directory)
            draft = self._own.with_suffix(".draft")
            draft.write_bytes(pack(list(running)))
            draft.replace(self._own)
            self._shown = True
        except OSError:
            return  # a full disk, mostly: rule 3

    def others(self) -> list[dict[str, Any]]:
        """Return what runs in the other workers."""
        return [query for queries in self._shown_by_others() for query in queries]

    def ask_to_stop(self, query: str) -> bool:
        """Have another worker stop a query; whether one shows it."""
        if not any(shown["id"] == query for shown in self.others()):
            return False
        try:
            (self._directory / f"{query}{_STOP}").touch()
        except OSError:
            return False
        return True

    def take_stops(self, running: Sequence[str]) -> list[str]:
        """Return which of these queries others want stopped; each is told once."""
        wanted = []
        for query in running if self._shown else ():
            try:
                (self._directory / f"{query}{_STOP}").unlink()
            except OSError:
                continue
            wanted.append(query)
        return wanted

    def _shown_by_others(self) -> Iterator[list[dict[str, Any]]]:
        try:
            files = sorted(self._directory.iterdir())
        except OSError:
            return
        for file in files:
            try:
                if time.time() - file.stat().st_mtime > STALE_S:
                    file.unlink(missing_ok=True)
                elif file.suffix == _SHOWN and file != self._own:
                    yield unpack(file.read_bytes())
            except (OSError, DagBoxError):
                continue  # it went away, or is just being written
