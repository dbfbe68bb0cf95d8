"""Recordings: polls in a file, and the file as a source of polls. Knows no Textual.

The file begins with `MAGIC` and holds frames, each a head (seconds since 1970 as a double, length of the payload as
four bytes, both big endian) and the payload: the poll as MessagePack, compressed with zlib. A file that ends within
a frame (its writer was killed) is read up to there.
"""

from __future__ import annotations

import struct

from dagbox.tui.polling.request import PARTS, PollRequest

MAGIC = b"DGBXREC1"
HEAD = struct.Struct(">dI")
RECORDED = PollRequest(frozenset(PARTS))
"""A recording keeps every part, whatever screen was looked at."""
