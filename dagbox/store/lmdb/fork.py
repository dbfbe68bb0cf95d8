"""Getting rid of an LMDB environment that a forked process inherited, without harm to the parent.

An environment must not be used after a fork, and py-lmdb does not open a directory a second time while it knows
an environment of it. Closing the inherited one would clear the parent's reader slots, since the table of readers
is memory that both share; the parent's snapshots would then lose their pages. So the child first puts a copy of
its own in the place of that memory, and then closes: all that the closing writes goes to the copy.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import lmdb

_MAP_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value


def close_inherited(env: lmdb.Environment, lock_file: str) -> bool:
    """Close an environment that the parent opened; False if this system gives no way to do it safely."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return False
    here = os.path.realpath(lock_file)
    for line in maps.read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].removesuffix(" (deleted)") == here and not _make_private(fields[0]):
            return False
    env.close()
    return True


def _make_private(span: str) -> bool:
    """Put anonymous memory of the same content in the place of a span of addresses."""
    start, end = (int(part, 16) for part in span.split("-"))
    content = ctypes.string_at(start, end - start)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
    if libc.mmap(start, end - start, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) == _FAILED:
        return False
    ctypes.memmove(start, content, len(content))
    return True
