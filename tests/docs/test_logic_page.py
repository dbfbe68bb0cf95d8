"""The page about logic is true: every block runs, in order, in one directory."""

from __future__ import annotations

from pathlib import Path

from tests.docs.walk import ROOT, Terminals, blocks_of, run

PAGE = (ROOT / "docs/logic.md").read_text()


def test_every_block_of_the_page_does_what_it_says(place: Path, terminals: Terminals) -> None:
    blocks = blocks_of(PAGE)
    assert len(blocks) >= 6
    for block in blocks:
        run(block, place, terminals)
