"""The page about testing is true: every block runs, in order, in one directory."""

from __future__ import annotations

import re
from pathlib import Path

from dagbox.testing import plugin
from tests.docs.walk import ROOT, Terminals, blocks_of, run

PAGE = (ROOT / "docs/testing.md").read_text()


def test_every_block_of_the_page_does_what_it_says(place: Path, terminals: Terminals) -> None:
    blocks = blocks_of(PAGE)
    assert len(blocks) >= 4
    for block in blocks:
        run(block, place, terminals)


def test_every_fixture_is_in_the_table() -> None:
    listed = set(re.findall(r"^\| `(dagbox_\w+)`", PAGE, re.MULTILINE))
    assert listed == {name for name in vars(plugin) if name.startswith("dagbox_")}
