"""Every decision has its page in the same form, with something measured, and stands in the list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "decisions").glob("*.md"))
DECISIONS = [page for page in PAGES if page.name != "README.md"]
HEADINGS = ["## Context", "## Decision", "## Consequences", "## Measured"]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_page_has_all_parts_and_a_figure(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == HEADINGS
    assert re.search(r"\d", text.partition("## Measured")[2])


def test_the_list_has_every_page_under_its_title() -> None:
    listed = dict(re.findall(r"^- \[(.+)\]\((.+\.md)\)$", PAGES[0].read_text(encoding="utf-8"), re.MULTILINE))
    titles = {page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# "): page.name for page in DECISIONS}
    assert PAGES[0].name == "README.md"
    assert listed == titles
    assert len(DECISIONS) >= 10
