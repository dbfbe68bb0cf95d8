"""The label and the protection of a place belong to the place: whoever goes there has them, by whatever name."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import dagbox
from dagbox.shell.connection import open_connection, told_names
from dagbox.shell.output import Output
from dagbox.shell.problems import CommandFailed
from dagbox.shell.session import Shell
from dagbox.shell.settings import Configuration, Environment, load_configuration

PRODUCTION = Environment("PRODUCTION", "red", read_only=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a production database; work is in the directory above it."""
    with dagbox.open(tmp_path / "run" / "proddb") as db:
        db.put("user", 1, key="x")
    dagbox.open(tmp_path / "other").close()
    (tmp_path / "link").symlink_to(tmp_path / "run" / "proddb")
    (tmp_path / "above").symlink_to(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run" / "proddb"


NAMES: list[Callable[[Path], str]] = [
    str,
    lambda place: "run/proddb",
    lambda place: "./run/proddb",
    lambda place: "run/proddb/",
    lambda place: "run/../run/proddb",
    lambda place: "run//proddb/.",
    lambda place: "link",
    lambda place: "above/proddb",
]


def shell_at(target: str, configuration: Configuration, read_only: bool = False) -> Shell:
    connection = open_connection(target, timeout_s=5, configuration=configuration, read_only=read_only)
    output = Output(io.StringIO(), io.StringIO(), terminal=False)
    return Shell(connection, output, configuration=configuration, stays_read_only=read_only, yes=True)


@pytest.fixture(params=["*/proddb", "exact", "*proddb*"])
def configuration(request: pytest.FixtureRequest, place: Path) -> Configuration:
    pattern = str(place) if request.param == "exact" else request.param
    return Configuration(environments=((pattern, PRODUCTION),))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["started", "connected"])
def test_a_directory_is_known_by_every_path(
    place: Path, configuration: Configuration, name: Callable[[Path], str], how: str
) -> None:
    if how == "started":
        shell = shell_at(name(place), configuration)
    else:
        shell = shell_at("other", configuration)
        assert shell.run_text("put user/x 2")
        assert shell.run_text(f"connect {name(place)}")
    assert (shell.environment, shell.read_only) == (PRODUCTION, True)
    assert not shell.run_text("put user/x 666")
    assert shell.run_text("get user/x")
    shell.close()
    with dagbox.open(place) as db:
        assert db.get("user", "x") == 1


@pytest.mark.parametrize(
    "pattern", ["link", "DIR/link", "DIR/run/proddb/", "./run/proddb", "DIR/above/*", "~/run/proddb"]
)
def test_a_pattern_may_be_any_path_that_leads_to_the_directory(
    place: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    above = place.parent.parent
    monkeypatch.setenv("HOME", str(above))
    configuration = Configuration(environments=((pattern.replace("DIR", str(above)), PRODUCTION),))
    for name in NAMES:
        with closing(shell_at(name(place), configuration)) as shell:
            assert shell.read_only, name(place)
    with closing(shell_at("other", configuration)) as shell:
        assert not shell.read_only


def test_brackets_in_a_pattern_are_those_of_the_name(place: Path) -> None:
    place.rename("data[1]")
    configuration = Configuration(environments=(("*/data[1]", PRODUCTION),))
    with closing(shell_at("data[1]", configuration)) as shell:
        assert shell.read_only


def test_a_node_that_is_reached_by_the_network_is_known_by_its_directory(place: Path, node: dagbox.Database) -> None:
    for pattern in ("*/proddb", str(place), "link"):
        names = [each for each in told_names(node) if not each.startswith(("ipc:", "inproc:"))]
        assert Configuration(environments=((pattern, PRODUCTION),)).environment_of(*names) == PRODUCTION


@pytest.fixture
def node(place: Path) -> Iterator[dagbox.Database]:
    with dagbox.open(place, serve=True) as db:
        yield db


def test_a_node_is_known_by_its_directory_and_its_addresses(place: Path, node: dagbox.Database) -> None:
    address = next(each for each in node.status().broker.addresses if each.startswith("ipc:"))
    for pattern in ("*proddb", address, "ipc://*proddb/run/broker.sock"):
        configuration = Configuration(environments=((pattern, PRODUCTION),))
        for target in (*[name(place) for name in NAMES], address, f"ipc://{os.path.realpath('link')}/run/broker.sock"):
            shell = shell_at(target, configuration)
            assert (shell.environment, shell.connection.embedded) == (PRODUCTION, False), (pattern, target)
            assert not shell.run_text("put user/x 666")
            shell.close()
    assert node.get("user", "x") == 1


def test_one_leaves_the_protection_with_the_place_but_not_that_one_asked_for(place: Path) -> None:
    configuration = Configuration(environments=(("*proddb", PRODUCTION),))
    shell = shell_at(str(place), configuration)
    assert shell.run_text("connect other")
    assert (shell.environment, shell.read_only) == (Environment(), False)
    assert shell.run_text("put user/x 2")
    shell.close()
    shell = shell_at(str(place), configuration, read_only=True)
    assert shell.run_text("connect other")
    assert shell.read_only
    assert not shell.run_text("put user/x 3")
    shell.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[environments.x]\nmatch = "*"\nread_only = "false"', "read_only is true or false"),
        ("[environments.x]\nmatch = '*'\nread_only = 1", "read_only is true or false"),
        ("settings = 1", r"settings is a section, \[settings\]"),
        ("[environments.x]\nmatch = '*'\nlabel = {a = 1}", "label is a text"),
        ("environments = [1]", r"environments is a section"),
        ("[environments]\nx = 'y'", r"x is a section, \[environments.x\]"),
    ],
)
def test_what_the_file_cannot_say_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "shell.toml"
    path.write_text(text)
    with pytest.raises(CommandFailed, match=message):
        load_configuration(path)


def test_the_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "shell.toml"
    path.write_text('[settings]\nformat = "json"\n', encoding="utf-8-sig")
    assert load_configuration(path).settings["format"] == "json"
