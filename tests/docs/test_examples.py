"""Each example runs in a directory of its own and prints what is right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
OUTPUT = {
    "counters": "visits: 20 tries at least: True",
    "jobs": "done: 20 each once: True\nsum: 2470",
    "parts": (
        "needs: ['frame', 'rim', 'spoke', 'tube', 'wheel']\nbasic parts: [{'N': 3}]\n"
        "because: ['has(bicycle, wheel, 2)', 'needs(wheel, spoke)']"
    ),
    "service": "number: 4 parts: ['the', 'quick', 'brown', 'fox']",
    "wiki": (
        "to Water: ['Coffee', 'Tea']\nfrom Home: ['Coffee', 'Tea', 'Water']\n"
        "Home links to: [('Tea', True), ('Coffee', True)]\nsomebody was faster: version True"
    ),
}


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(OUTPUT)


@pytest.mark.parametrize("name", OUTPUT)
def test_an_example_does_what_it_says(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), str(tmp_path / "data")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DAGBOX")}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip() == OUTPUT[name]
