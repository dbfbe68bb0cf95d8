"""Recordings: polls in a file, and the file as a source of polls. Knows no Textual.

The file begins with `MAGIC` and holds frames, each a head (seconds since 1970 as a double, length of the payload as
four bytes, both big endian) and the payload: the poll as MessagePack, compressed with zlib. A file that ends within
a frame (its writer was killed) is read up to there, and so is one with a head that cannot be right.

A part of a poll that is as it was in the poll before is left out, and a trace that was written is named by `[id,
took_ms]` only, for `KEY_S` at most: who reads a poll reads the polls of `KEY_S` before it as well.
"""

from __future__ import annotations

import struct

from dagbox.tui.polling.request import PARTS, PollRequest

MAGIC = b"DGBXREC1"
HEAD = struct.Struct(">dI")
TRACE_PARTS = ("traces", "slowest")
KEY_S = 60.0
"""A poll has all its parts at least this often."""
MOST_BYTES = 16 * 1024 * 1024
"""The size of a payload, compressed or not; more is no poll."""
MOST_READ_BYTES = 2 * MOST_BYTES
"""The size of the polls that are read for one moment; of more the latest are taken."""
RECORDED = PollRequest(frozenset(PARTS), limit=300)
"""A recording keeps every part, whatever screen was looked at. Of more traces between two polls it tells the number."""
