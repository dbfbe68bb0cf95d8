"""Write polls to a file. Knows no Textual."""

from __future__ import annotations

import os
import zlib
from typing import Any, BinaryIO

import msgpack

import dagbox
from dagbox.tui.polling.request import PARTS, Map
from dagbox.tui.recording.format import HEAD, KEY_S, MAGIC, TRACE_PARTS


class Recorder:
    """Writes polls to a file, each whole before the next.

    Raises:
        dagbox.InvalidArgument: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.polls = 0
        self.bytes = 0
        self._key_at = -KEY_S
        self._written: dict[str, Any] = {}
        self._traces: set[tuple[str, float, int]] = set()
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
        payload = zlib.compress(msgpack.packb(self._changed(poll), default=_pack_other, datetime=True), 6)
        self._file.write(HEAD.pack(poll["at"], len(payload)) + payload)
        self._file.flush()
        self.polls += 1
        self.bytes += len(payload)

    def _changed(self, poll: Map) -> Map:
        """Return the poll without the parts that are as they were."""
        if not 0 <= poll["at"] - self._key_at < KEY_S:
            self._key_at = poll["at"]
            self._written.clear()
            self._traces.clear()
        kept = dict(poll)
        for part in PARTS:
            if part not in poll:
                self._written.pop(part, None)
                continue
            identity = _identity(part, poll[part])
            if part in self._written and self._written[part] == identity:
                del kept[part]
            else:
                self._written[part] = identity
                if part in TRACE_PARTS:
                    kept[part] = [self._named(trace) for trace in poll[part]]
        return kept

    def _named(self, trace: Map) -> Any:
        """Return a trace, or its name if it was written already."""
        name = _name(trace)
        if name in self._traces:
            return list(name[:2])
        self._traces.add(name)
        return trace

    def close(self) -> None:
        """End the file. Idempotent."""
        self._file.close()


def _name(trace: Map) -> tuple[str, float, int]:
    """Return what a trace is known by: only what workers note of it still changes, its age aside."""
    notes = trace.get("notes", ())
    return trace["id"], trace["took_ms"], len(notes) + sum(bool(note.get("over")) for note in notes)


def _identity(part: str, value: Any) -> Any:
    """Return what a part is known by: the age of requests that ended is another in each poll."""
    if part in TRACE_PARTS:
        return [_name(each) for each in value]
    return [each["number"] for each in value] if part == "dead_letters" else value


def _pack_other(value: object) -> Any:
    if isinstance(value, dagbox.Ref):
        return msgpack.ExtType(1, msgpack.packb([value.bucket, value.key, value.version]))
    if isinstance(value, dagbox.DagBoxError):
        return msgpack.ExtType(2, msgpack.packb(value.to_wire(), default=repr))
    return repr(value)
