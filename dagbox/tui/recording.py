"""Recordings: polls in a file, and the file as a source of polls. Knows no Textual.

The file begins with `MAGIC` and holds frames, each a head (seconds since 1970 as a double, length of the payload as
four bytes, both big endian) and the payload: the poll as MessagePack, compressed with zlib. A file that ends within
a frame (its writer was killed) is read up to there.
"""

from __future__ import annotations

import os
import struct
import threading
import time
import zlib
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, BinaryIO

import msgpack

import dagbox
from dagbox.tui.body import ext_value
from dagbox.tui.model import PARTS, Map, Wish

MAGIC = b"DGBXREC1"
_HEAD = struct.Struct(">dI")
REFILL_S = 300.0
"""How much of the time before a place is read when one seeks there, so that the graphs have their course."""
RECORDED = Wish(frozenset(PARTS))
"""A recording keeps every part, whatever screen was looked at."""
FASTEST = 1024.0
SLOWEST = 0.125


class Recorder:
    """Writes polls to a file, each whole before the next.

    Raises:
        dagbox.InvalidArgument: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.polls = 0
        self.bytes = 0
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        except OSError as error:
            raise dagbox.InvalidArgument(f"cannot record to {self.path}: {error.strerror}") from None
        self._file.write(MAGIC)

    def add(self, poll: Map) -> None:
        """Keep a poll.

        Raises:
            OSError: the disk does not take it.
        """
        payload = zlib.compress(msgpack.packb(poll, default=_pack_other, datetime=True), 6)
        self._file.write(_HEAD.pack(poll["at"], len(payload)) + payload)
        self._file.flush()
        self.polls += 1
        self.bytes += len(payload)

    def close(self) -> None:
        """End the file. Twice is once."""
        self._file.close()


def _pack_other(value: object) -> Any:
    if isinstance(value, dagbox.Ref):
        return msgpack.ExtType(1, msgpack.packb([value.bucket, value.key, value.version]))
    if isinstance(value, dagbox.DagBoxError):
        return msgpack.ExtType(2, msgpack.packb(value.to_wire(), default=repr))
    return repr(value)


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
        while at + _HEAD.size <= size:
            self._file.seek(at)
            when, length = _HEAD.unpack(self._file.read(_HEAD.size))
            at += _HEAD.size + length
            if at > size:
                break
            self.times.append(when)
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
        """One poll.

        Raises:
            dagbox.InvalidArgument: its bytes are damaged.
        """
        at, length = self._places[number]
        self._file.seek(at)
        try:
            data = zlib.decompress(self._file.read(length))
            value = msgpack.unpackb(data, ext_hook=ext_value, strict_map_key=False, timestamp=3)
        except (zlib.error, ValueError, msgpack.UnpackException) as error:
            raise dagbox.InvalidArgument(f"{self.path}: poll {number + 1} is damaged: {error}") from None
        if not isinstance(value, dict):
            raise dagbox.InvalidArgument(f"{self.path}: poll {number + 1} is no map")
        return value

    def number_at(self, at: float) -> int:
        """The number of the last poll at or before a time; the first if there is none."""
        return max(0, bisect_right(self.times, at) - 1)

    def close(self) -> None:
        """Close the file. Twice is once."""
        self._file.close()


class ReplaySource:
    """Plays a recording as if it were live, with seek and speed.

    The place moves with the clock times the speed, from the first poll to the last, and stays there. A seek is asked
    for by any thread and done by the one that asks for polls; the polls after a seek begin with `{"reset": True}`.

    Args:
        recording: what to play; closed with the source.
        speed: how many times faster than it was.
        clock: monotonic seconds.
    """

    live = False

    def __init__(self, recording: Recording, speed: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = recording.path
        self.recording = recording
        self._clock = clock
        self._gate = threading.Lock()
        self._speed = min(max(speed, SLOWEST), FASTEST)
        self._since = clock()
        self._place = recording.times[0]
        self._shown = -1
        self._reset = True
        self.halted = False

    # ------------------------------------------------------------------ the place

    @property
    def begin(self) -> float:
        """The time of the first poll, in seconds since 1970."""
        return self.recording.times[0]

    @property
    def end(self) -> float:
        """The time of the last poll, in seconds since 1970."""
        return self.recording.times[-1]

    @property
    def speed(self) -> float:
        """How many times faster than it was."""
        return self._speed

    def place(self) -> float:
        """The time that is shown, in seconds since 1970."""
        with self._gate:
            return self._now()

    def _now(self) -> float:
        passed = 0.0 if self.halted else (self._clock() - self._since) * self._speed
        return min(self._place + passed, self.end)

    def _settle(self) -> None:
        self._place, self._since = self._now(), self._clock()

    def seek(self, at: float) -> None:
        """Go to a time; one outside of the recording is its begin or end."""
        with self._gate:
            self._place = min(max(at, self.begin), self.end)
            self._since = self._clock()
            self._reset = True

    def step(self, polls: int) -> None:
        """Go on (or back) by so many polls."""
        with self._gate:
            number = self.recording.number_at(self._now()) + polls
        self.seek(self.recording.times[min(max(number, 0), len(self.recording) - 1)])

    def set_speed(self, speed: float) -> None:
        """Play so many times faster than it was."""
        with self._gate:
            self._settle()
            self._speed = min(max(speed, SLOWEST), FASTEST)

    def halt(self, halted: bool) -> None:
        """Stop at the place, or go on from it."""
        with self._gate:
            self._settle()
            self.halted = halted

    # ------------------------------------------------------------------ as a source

    def polls(self, wish: Wish) -> list[Map]:
        """The polls between the last place and this one; after a seek those of some minutes before it."""
        with self._gate:
            now, reset = self._now(), self._reset
            self._reset = False
        last = self.recording.number_at(now)
        if reset:
            first = self.recording.number_at(now - REFILL_S)
            self._shown = last
            return [{"reset": True}, *(self.recording.poll(number) for number in range(first, last + 1))]
        first, self._shown = self._shown + 1, max(last, self._shown)
        return [self.recording.poll(number) for number in range(first, last + 1)]

    def close(self) -> None:
        """Close the recording."""
        self.recording.close()
