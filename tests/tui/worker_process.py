"""A worker in a process of its own, for tests that kill and stop it: worker_process.py ADDRESS NAME."""

from __future__ import annotations

import sys
from typing import Any

import dagbox


@dagbox.service("slow", credit=2)
def slow(payload: Any, request: Any) -> Any:
    """Gives back what it gets."""
    return payload


if __name__ == "__main__":
    dagbox.serve(slow, connect=sys.argv[1], name=sys.argv[2])
