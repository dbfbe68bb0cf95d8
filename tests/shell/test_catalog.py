"""The command table holds together: each row has its function, its words and its examples."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from dagbox.notation.scanner import Expect, Style
from dagbox.shell.editor.complete import PROPOSERS
from dagbox.shell.grammar.catalog import CATALOG
from dagbox.shell.grammar.command_spec import CommandSpec, Kind
from dagbox.shell.grammar.parse import parse
from dagbox.shell.grammar.readers import READERS
from dagbox.shell.handlers import help as helping
from dagbox.shell.handlers.topics import TOPICS
from dagbox.shell.render.palette import STYLES
from dagbox.shell.render.text import plain
from tests.shell.conftest import Driven

ROOT = Path(__file__).parents[2]
NAMED = """
get put del scan ls buckets peek edit lock unlock locks renew assert retract facts rule rules query why explain
batch commit abort call status services workers traces trace watch time export import source set use help history
clear exit
"""


def test_every_command_that_people_expect_is_there() -> None:
    assert set(NAMED.split()) <= set(CATALOG.by_name)


@pytest.mark.parametrize("row", CATALOG.commands, ids=lambda row: row.name)
def test_a_row_and_its_function_agree(row: CommandSpec) -> None:
    wanted = [param.name for param in row.params] + [option.argument for option in row.options]
    assert list(inspect.signature(row.function).parameters) == ["shell", *wanted]
    if row.danger_function is not None:
        assert list(inspect.signature(row.danger_function).parameters) == ["shell", *wanted]


@pytest.mark.parametrize("row", CATALOG.commands, ids=lambda row: row.name)
def test_a_row_says_what_it_does(row: CommandSpec) -> None:
    assert row.summary
    assert row.summary[0].islower()
    assert not row.summary.endswith(".")
    for text, meaning in row.examples:
        parsed = parse(text)
        assert parsed.problem is None, f"{text}: {parsed.problem}"
        assert parsed.command is row
        assert meaning


def test_every_kind_has_a_reader_and_every_expectation_a_source_of_proposals() -> None:
    assert set(READERS) | {Kind.CHOICE} == set(Kind)
    assert set(PROPOSERS) == set(Expect)
    assert set(get_args(Style)) <= set(STYLES)


def test_help_shows_every_command_and_topic(driven: Driven) -> None:
    assert driven.run("help --format tree")
    text = driven.take()
    for name in (*(row.name for row in CATALOG.commands), *TOPICS):
        assert name in text


@pytest.mark.parametrize("name", [*(row.name for row in CATALOG.commands), *TOPICS])
def test_help_on_each(driven: Driven, name: str) -> None:
    assert driven.run(f"help {name} --format tree")
    text = driven.take()
    assert max(map(len, text.splitlines())) <= 125
    if name in CATALOG.by_name:
        assert CATALOG.by_name[name].signature in " ".join(text.split())


def test_the_commands_in_help_topics_are_right() -> None:
    for topic in TOPICS.values():
        for line in topic.text.splitlines():
            text = line.strip()
            word = text.partition(" ")[0]
            if line.startswith("    ") and word in CATALOG.by_name and not text.endswith("{"):
                command = text.split("   ")[0]
                problem = parse(command).problem
                assert problem is None, f"{command}: {problem}"


def test_help_on_nothing_proposes_what_is_near(driven: Driven) -> None:
    assert "did you mean `help relations`?" in driven.error("help relation")


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_help_is_wrapped_between_words_except_for_what_one_types(columns: int) -> None:
    pages = [helping._overview(columns), *(helping._topic(name, columns) for name in TOPICS)]
    pages += [helping._about(command, columns) for command in CATALOG.commands]
    typed = {f"  {text}" for command in CATALOG.commands for text, _ in command.examples}
    typed |= {line[: found.start()] for line in _examples() for found in re.finditer(" {3,}|$", line)}
    for line in (plain(line) for page in pages for line in page):
        assert len(line) <= columns or line in typed
        assert "`" not in line, line


def test_no_word_of_help_is_lost_or_divided() -> None:
    for name, topic in TOPICS.items():
        shown = [plain(line) for line in helping._topic(name, 40)]
        assert " ".join(shown).split() == topic.text.replace("`", "").split()


def _examples() -> list[str]:
    return [line for topic in TOPICS.values() for line in topic.text.splitlines() if line.startswith("    ")]


def test_the_reference_page_is_that_of_the_table() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/shell_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
