"""What a disk may hold after a crash: recorded writes, replayed up to a point, the unsynced ones in any selection.

A write counts as kept once a sync of its file came after it, or if it went through a descriptor opened with O_DSYNC.
Until then it may be there, be missing, or be there in part: pages of 4096 bytes are written whole or not at all.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAGE = 4096
_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (\d+)")
_OPENED = re.compile(r'"([^"]*)", ([A-Z_|]+)')
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_IOV = re.compile(r'iov_base="((?:\\x[0-9a-f]{2})*)"')


@dataclass
class Write:
    """Bytes at a place of the data file."""

    offset: int
    data: bytes

    def pieces(self) -> list[Write]:
        """The pages of it, which reach the disk one by one."""
        return [Write(self.offset + at, self.data[at : at + PAGE]) for at in range(0, len(self.data), PAGE)]


@dataclass
class Recording:
    """What happened, in order: a `Write`, "sync", "named" (from here on the file has its name), the number of a batch
    that was acknowledged."""

    steps: list[Write | str | int] = field(default_factory=list)


def recorded(trace: str, name: str = "data.mdb") -> Recording:
    """The recording of a trace by `strace -xx`, of one program that opens the data file once for each way to write."""
    recording = Recording()
    synced: dict[str, bool] = {}
    ends: dict[str, int] = {}
    for line in trace.splitlines():
        found = _CALL.match(line)
        if found is None:
            continue
        call, arguments, result = found.groups()
        descriptor = arguments.split(",", 1)[0]
        if call == "openat" and (opened := _OPENED.search(arguments)):
            path = bytes.fromhex(opened[1].replace("\\x", "")).decode()
            synced.pop(result, None)
            if path.endswith(name):
                synced[result], ends[result] = "O_DSYNC" in opened[2], 0
        elif call == "link":
            recording.steps.append("named")
        elif call == "write" and descriptor == "1":
            said = _bytes_of(_STRING, arguments).decode().split()
            if said[0] == "ack":
                recording.steps.append(int(said[1]))
        elif descriptor in synced:
            _add(recording, call, arguments, descriptor, synced[descriptor], ends)
    return recording


def _add(recording: Recording, call: str, arguments: str, descriptor: str, dsync: bool, ends: dict[str, int]) -> None:
    if call == "pwrite64":
        recording.steps.append(Write(int(arguments.rsplit(",", 1)[1]), _bytes_of(_STRING, arguments)))
        if dsync:
            recording.steps.append("sync of this")
    elif call == "lseek":
        ends[descriptor] = int(arguments.split(",")[1])
    elif call == "writev":
        data = b"".join(bytes.fromhex(part.replace("\\x", "")) for part in _IOV.findall(arguments))
        recording.steps.append(Write(ends[descriptor], data))
        ends[descriptor] += len(data)
    elif call in ("fdatasync", "fsync"):
        recording.steps.append("sync")


def _bytes_of(pattern: re.Pattern[str], arguments: str) -> bytes:
    found = pattern.search(arguments)
    assert found is not None, arguments[:200]
    return bytes.fromhex(found[1].replace("\\x", ""))


def images(recording: Recording, chance: random.Random, selections: int) -> Iterator[tuple[int, int, bytes]]:
    """Images of the data file at each moment of a recording: how many batches were acknowledged, the step, the bytes.

    At each moment: nothing of what is not synced, all of it, and so many random selections of its pages.
    """
    kept = bytearray()
    pending: list[Write] = []
    acknowledged, named = 0, False
    for number, step in enumerate(recording.steps):
        if isinstance(step, int):
            acknowledged = step
        elif isinstance(step, Write):
            pending.extend(step.pieces())
        elif step == "named":
            named = True
        elif step == "sync":
            _apply(kept, pending)
            pending.clear()
        else:
            _apply(kept, [pending.pop()])
        if not named:
            continue  # a crash leaves a directory without a store
        yield acknowledged, number, bytes(kept)
        if not pending:
            continue
        for chosen in [pending, *(_some(pending, chance) for _ in range(selections))]:
            image = bytearray(kept)
            _apply(image, chosen)
            yield acknowledged, number, bytes(image)


def _some(pending: list[Write], chance: random.Random) -> list[Write]:
    return [write for write in pending if chance.random() < 0.5]


def _apply(image: bytearray, writes: list[Write]) -> None:
    for write in writes:
        end = write.offset + len(write.data)
        if len(image) < end:
            image.extend(bytes(end - len(image)))
        image[write.offset : end] = write.data


def put_image(directory: Path, image: bytes) -> None:
    """Make a directory that a crash left."""
    directory.mkdir()
    (directory / "data.mdb").write_bytes(image)
