"""Memory given back to the system after a peak: the C library keeps what was freed, in case it is needed again."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

PEAK_BYTES = 64 * 1024 * 1024
"""Bytes that must have been freed since the last time."""


def _malloc_trim() -> Callable[[int], object] | None:
    """Return glibc's function; None where the C library is another."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found


class Trimmer:
    """Gives memory back once most of a peak is over.

    Args:
        trim: called with 0 to give memory back; glibc's `malloc_trim` if None.
    """

    def __init__(self, trim: Callable[[int], object] | None = None) -> None:
        self._trim = trim or _malloc_trim()
        self._peak = 0

    def note(self, held: int, peak: int = 0) -> bool:
        """Note the bytes that are held now, and the most since the last time; return True if memory was given back."""
        self._peak = max(self._peak, held, peak)
        if self._peak - held < PEAK_BYTES or held > self._peak // 4 or self._trim is None:
            return False
        self._peak = held
        self._trim(0)
        return True
