"""The page about measuring is true: every block runs, in order, in one directory."""

from __future__ import annotations

import re
from pathlib import Path

from dagbox.bench.load.plan import WORKLOADS
from tests.docs.walk import ROOT, Terminals, blocks_of, run

PAGE = (ROOT / "docs/bench.md").read_text()


def test_every_block_of_the_page_does_what_it_says(place: Path, terminals: Terminals) -> None:
    blocks = blocks_of(PAGE)
    assert len(blocks) >= 6
    for block in blocks:
        if block.language == "python":
            # A workload defines functions only: `dagbox bench` runs them in the block after it.
            (place / block.text.partition("\n")[0].removeprefix("# ")).write_text(block.text)
        else:
            run(block, place, terminals)


def test_every_workload_is_in_the_table() -> None:
    assert set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE)) == set(WORKLOADS)
