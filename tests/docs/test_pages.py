"""The pages are true: their code runs, their tables are those of the code, their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import dagbox
from dagbox import errors
from dagbox.errors import DagBoxError
from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Kind
from tests.docs.walk import ROOT, Terminals, blocks_of, run

README = (ROOT / "README.md").read_text()
PROTOCOL = (ROOT / "docs/protocol.md").read_text()


def test_every_block_of_the_readme_does_what_it_says(place: Path, terminals: Terminals) -> None:
    blocks = blocks_of(README)
    assert len(blocks) >= 10
    for block in blocks:
        run(block, place, terminals)
    assert terminals.close() == [0, 0]


def test_every_block_about_nested_reads_does_what_it_says(place: Path, terminals: Terminals) -> None:
    for block in blocks_of((ROOT / "docs/nested-reads.md").read_text()):
        run(block, place, terminals)


def test_the_worker_of_the_readme_forwards(place: Path, terminals: Terminals) -> None:
    for block in blocks_of(README):
        if "ten_lines.py" in block.text or block.own_terminal:
            run(block, place, terminals)
    with dagbox.connect(place / "data") as db:
        assert db.call("greet_user", "ada") == "Hello, Ada!"
        (trace,) = db.traces(limit=1, service="greet_user")
        assert [step.who for step in trace.timeline if step.what == "forwarded"] == ["greet"]


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test", "check"} <= set(targets)


def test_the_client_of_the_protocol_talks_to_a_node(place: Path, terminals: Terminals) -> None:
    terminals.run("dagbox up data --readers 1")
    (block,) = blocks_of(PROTOCOL)
    run(block, place, terminals)


def rows(page: str, columns: int) -> list[list[str]]:
    """The rows of the page's tables with so many columns, their code marks removed."""
    lines = [line.strip().strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line] for line in lines if len(line) == columns]


def test_kinds_flags_and_header_of_the_protocol_are_those_of_the_code() -> None:
    kinds = {name: int(number) for number, name, *_ in rows(PROTOCOL, 4) if number.isdecimal()}
    assert kinds == {kind.name: kind.value for kind in Kind}
    threes = [row for row in rows(PROTOCOL, 3) if row[0].isdecimal()]
    flags = {row[1]: int(row[0]) for row in threes if row[1].isupper()}
    assert flags == {flag.name: flag.value for flag in Flag}
    header = [(int(at), int(size)) for at, size, _ in threes if size.isdecimal()]
    assert header[0] == (0, 4)
    assert all(at + size == following for (at, size), (following, _) in pairwise(header))
    assert sum(header[-1]) == frames.HEADER_BYTES


def test_every_error_is_in_the_protocol() -> None:
    codes = {row[0] for row in rows(PROTOCOL, 3)}
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, DagBoxError)]
    assert {cls.code for cls in classes if "code" in vars(cls)} - {"error"} <= codes


@pytest.mark.parametrize("script", ["scripts/cli_docs.py", "scripts/protocol_docs.py"])
def test_generated_pages_are_as_they_would_be_generated(script: str) -> None:
    ended = subprocess.run([sys.executable, script, "--check"], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_page_that_is_not_as_it_would_be_generated_is_found(tmp_path: Path) -> None:
    code = (
        "import runpy, sys, pathlib; sys.path.insert(0, sys.argv[1]);"
        "main = runpy.run_path(sys.argv[1] + '/scripts/cli_docs.py')['main'];"
        "sys.exit(main(['--check'], pathlib.Path(sys.argv[2])))"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(ROOT), str(tmp_path)], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "docs/cli.md is out of date" in ended.stderr


LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)")
PAGES = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in LINK.findall(path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{page} links to {target}"


def test_every_decision_is_listed_and_says_what_was_measured() -> None:
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text()
    for page in folder.glob("*.md"):
        if page.name != "README.md":
            assert f"({page.name})" in index, f"docs/decisions/README.md does not list {page.name}"
            assert "## Measured" in page.read_text(), page.name


def test_every_place_that_contributing_names_is_there() -> None:
    places = re.findall(r"`(dagbox/[\w/]+\.(?:py|tcss))`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(places) >= 5
    assert [place for place in places if not (ROOT / place).exists()] == []
