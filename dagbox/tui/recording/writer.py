"""Write polls to a file. Knows no Textual."""

from __future__ import annotations

import os
import zlib
from typing import Any, BinaryIO

import msgpack

import dagbox
from dagbox.tui.polling.request import Map
from dagbox.tui.recording.format import HEAD, MAGIC


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
        self._file.write(HEAD.pack(poll["at"], len(payload)) + payload)
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
