"""Programs under `strace`: their calls to the system recorded, or made to fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STRACE = shutil.which("strace")
WRITES = "pwrite64,writev,fdatasync"
"""The calls that LMDB commits with."""


@cache
def can_trace() -> bool:
    """Whether strace is there and may trace."""
    if STRACE is None:
        return False
    return subprocess.run([STRACE, "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


needs_strace = pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")


def traced(
    directory: Path | None, command: list[str], calls: str, *options: str, output: str = os.devnull
) -> subprocess.CompletedProcess[str]:
    """Run a Python program under strace, with an eye on a store's data file only, or on all files (None)."""
    assert STRACE is not None
    only = ["-P", str(directory / "data.mdb")] if directory is not None else []
    watch = [*only, "-e", f"trace={calls}", "-e", "signal=none", *options]
    return subprocess.run(
        [STRACE, "-f", "--seccomp-bpf", "-qq", "-o", output, *watch, sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
