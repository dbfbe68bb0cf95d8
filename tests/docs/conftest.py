"""A newcomer's place, and the terminals beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.walk import Terminals


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the commands `dagbox` and `python` of this environment on the path."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, arguments in (("dagbox", "-m dagbox"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        program.chmod(0o755)
    return tmp_path


@pytest.fixture
def terminals(place: Path) -> Iterator[Terminals]:
    found = Terminals(place)
    yield found
    found.close()
