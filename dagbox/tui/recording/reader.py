"""Read a recording, poll by poll. Knows no Textual."""

from __future__ import annotations

import os
import zlib
from bisect import bisect_right
from typing import BinaryIO

import msgpack

import dagbox
from dagbox.tui.polling.body import ext_value
from dagbox.tui.polling.model import LAST_S
from dagbox.tui.polling.request import Map
from dagbox.tui.recording.format import HEAD, MAGIC, MOST_BYTES


class Recording:
    """A recording, open for reading: polls by number. A context manager.

    Raises:
        dagbox.InvalidArgument: not a recording, or an empty one.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.times: list[float] = []
        self._places: list[tuple[int, int]] = []
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDONLY), "rb")
        except OSError as error:
            raise dagbox.InvalidArgument(f"cannot read {self.path}: {error.strerror}") from None
        try:
            self._index()
        except BaseException:
            self._file.close()
            raise

    def _index(self) -> None:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise dagbox.InvalidArgument(f"{self.path} is not a recording of the dashboard")
        size = os.fstat(self._file.fileno()).st_size
        at = len(MAGIC)
        while at + HEAD.size <= size:
            self._file.seek(at)
            when, length = HEAD.unpack(self._file.read(HEAD.size))
            at += HEAD.size + length
            if at > size or length > MOST_BYTES or not 0 <= when <= LAST_S:
                break
            # A clock that was set back must not take the order from the times.
            self.times.append(max(when, self.times[-1]) if self.times else when)
            self._places.append((at - length, length))
        if not self.times:
            raise dagbox.InvalidArgument(f"{self.path} holds no polls")

    def __len__(self) -> int:
        return len(self.times)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def poll(self, number: int) -> Map:
        """One poll, as `sized_poll`."""
        return self.sized_poll(number)[0]

    def sized_poll(self, number: int) -> tuple[Map, int]:
        """One poll, and its size in bytes.

        Raises:
            dagbox.InvalidArgument: its bytes are damaged.
        """
        at, length = self._places[number]
        self._file.seek(at)
        try:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(self._file.read(length), MOST_BYTES)
            if not unpacker.eof:
                raise ValueError("it is cut, or larger than a poll can be")
            value = msgpack.unpackb(data, ext_hook=ext_value, strict_map_key=False, timestamp=3)
        except (zlib.error, ValueError, msgpack.UnpackException) as error:
            raise dagbox.InvalidArgument(f"{self.path}: poll {number + 1} is damaged: {error}") from None
        if not isinstance(value, dict):
            raise dagbox.InvalidArgument(f"{self.path}: poll {number + 1} is no map")
        return value, len(data)

    def number_at(self, at: float) -> int:
        """The number of the last poll at or before a time; the first if there is none."""
        return max(0, bisect_right(self.times, at) - 1)

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()
