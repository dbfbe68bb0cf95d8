"""The demo: what it loads, loading again, its traffic, and the commands that it suggests."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dagbox
from dagbox.demo.distributions import (
    BUCKETS,
    Distribution,
    Requirement,
    authors_of,
    installed,
    parse_requirement,
    to_records,
)
from dagbox.demo.load import Loaded, load, load_rules
from dagbox.demo.run import Demo, DemoSettings, by_need, guide
from dagbox.demo.traffic import CLIENTS, NESTED, Traffic, Visitor
from dagbox.protocol.values import Ref
from dagbox.runtime.supervisor import NodeSettings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "requirement"),
    [
        ("click", Requirement("click", "", "", "")),
        ("Ruamel.YAML>=0.17,<1", Requirement("ruamel-yaml", ">=0.17,<1", "", "")),
        ("requests[socks] (>=2.8.1)", Requirement("requests", ">=2.8.1", "", "")),
        ("a ; python_version < '3.11'", Requirement("a", "", "", "python_version < '3.11'")),
        ('b>=1; extra == "dev"', Requirement("b", ">=1", "dev", 'extra == "dev"')),
        ("c @ https://example.org/c.zip", Requirement("c", "", "", "")),
        ("!", None),
    ],
)
def test_lines_of_requires_dist(line: str, requirement: Requirement | None) -> None:
    assert parse_requirement(line) == requirement


def test_authors_are_names_and_no_addresses() -> None:
    assert authors_of("Ada Lovelace", '"Bob B." <bob@example.org>, eve@example.org, Ada Lovelace <a@b.c>') == [
        "Ada Lovelace",
        "Bob B.",
    ]


def test_records_refer_to_each_other() -> None:
    records = to_records(
        [
            Distribution(
                "app",
                "1.0",
                requirements=[Requirement("lib", ">=2", "", ""), Requirement("docs", "", "dev", 'extra == "dev"')],
                modules={"app": 3},
                authors=["Ada Lovelace"],
            ),
            Distribution("lib", "2.0", authors=["Ada Lovelace"]),
        ]
    )
    app = records[Ref("package", "app")]
    assert app["needs"] == [Ref("package", "lib")]
    assert app["requirements"] == [Ref("requirement", "app>lib"), Ref("requirement", "app>docs[dev]")]
    assert records[app["requirements"][0]]["needs"] == Ref("package", "lib")
    assert records[app["modules"][0]] == {"name": "app", "package": Ref("package", "app"), "files": 3}
    assert records[app["authors"][0]]["packages"] == [Ref("package", "app"), Ref("package", "lib")]
    assert by_need(records) == ["lib", "app"]


def test_the_distributions_of_this_machine_are_read() -> None:
    found = {distribution.name: distribution for distribution in installed()}
    assert "pyzmq" in found
    assert "zmq" in found["pyzmq"].modules
    assert any(requirement.name == "pygments" for requirement in found["pytest"].requirements)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[dagbox.Database]:
    with dagbox.open(tmp_path / "data", durability="process") as database:
        yield database


def test_loading_again_writes_only_what_has_changed(db: dagbox.Database) -> None:
    records = to_records(installed())
    assert load(db, records, BUCKETS) == Loaded(len(records), 0, 0, 0)
    version = db.status().store.version
    assert load(db, records, BUCKETS) == Loaded(0, 0, 0, len(records))
    assert db.status().store.version == version
    changed = dict(records)
    gone = next(ref for ref in records if ref.bucket == "module")
    del changed[gone]
    other = next(ref for ref in records if ref.bucket == "package")
    changed[other] = {**records[other], "version": "0.0.0"}
    assert load(db, changed, BUCKETS) == Loaded(0, 1, 1, len(records) - 2)
    assert db.get(gone, default=None) is None


def test_the_nested_read_of_the_traffic_finds_what_belongs_to_a_package(db: dagbox.Database) -> None:
    records = to_records(installed())
    load(db, records, BUCKETS)
    node = db.fetch("package", "pytest", relations=NESTED)
    assert {need.key for need in node["needs"]} >= {"pygments", "pluggy"}
    assert all(module.found for module in node["modules"])


def test_visitors_do_everything_without_an_error_and_the_same_for_the_same_seed(db: dagbox.Database) -> None:
    load(db, to_records(installed()), BUCKETS)
    load_rules(db)
    keys = ["pytest", "click", "pluggy"]
    first, second = Visitor(db, keys, 7), Visitor(db, keys, 7)
    assert [first.step() for _ in range(300)] == [second.step() for _ in range(300)]
    assert set(first.counts) == {"read", "read_nested", "read_many", "scan", "visit", "write_note", "review", "query"}
    assert sum(db.get("visit", key)["times"] for key in db_keys(db, "visit")) == 2 * first.counts["visit"]
    assert db.locks() == []


def test_rules_find_what_a_package_needs_transitively(db: dagbox.Database) -> None:
    load(
        db,
        to_records(
            [
                Distribution("app", "1", requirements=[Requirement("lib", "", "", "")]),
                Distribution("lib", "1", requirements=[Requirement("core", "", "", "")]),
                Distribution("core", "1"),
            ]
        ),
        BUCKETS,
    )
    load_rules(db)
    load_rules(db)
    assert len(db.rules()) == 4
    assert [row["X"] for row in db.query("needs(app, X)")] == ["core", "lib"]


def db_keys(db: dagbox.Database, bucket: str) -> list[str]:
    return [record.key for record in db.scan(bucket)]


def test_traffic_stops(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data", durability="process", serve=True) as db:
        load(db, to_records(installed()), BUCKETS)
        load_rules(db)
        traffic = Traffic(lambda: dagbox.connect(tmp_path / "data"), ["click", "pytest"], rate=300)
        traffic.start()
        while db.get("visit", "click", default=None) is None:
            time.sleep(0.01)
        traffic.stop()
        counts = dict(traffic.counts)
        assert counts["read"] > 0
        assert CLIENTS > 1
        traffic.stop()
        assert dict(traffic.counts) == counts


Spawn = Callable[..., "subprocess.Popen[str]"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dagbox", *arguments]


def environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DAGBOX_")}
    return clean | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def test_the_demo_suggests_commands_that_work(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("demo", "demo-data", "--rate", "100", "--readers", "1"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        while " traces " not in lines[-1]:
            assert lines[-1], "the demo ended"
            lines.append(process.stderr.readline())
        lines = [line for line in lines if " open files allow " not in line]  # where the limit of this machine is low
        assert lines[0].startswith("loaded the Python distributions of this machine")
        suggested = lines[lines.index("Ctrl-C stops it. In another terminal:\n") + 2 :]
        typed = [line.strip() for line in "".join(suggested).replace("\\\n", "").splitlines()]
        assert len(typed) == 11
        for line in typed:
            if " top " in line or " shell " in line:
                continue
            typing = line.replace(" --watch", "").replace("sleep 10", "echo had")
            ended = subprocess.run(["bash", "-c", typing], cwd=tmp_path, env=environment(), capture_output=True)
            told = ended.stderr.replace(b"there are more: these are the first 20\n", b"")
            assert (ended.returncode, told) == (0, b""), line
            assert ended.stdout, line
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=15)
        assert (process.returncode, out) == (0, "")
        assert time.monotonic() - began < 5
        assert "traffic: " in err
        assert "Traceback" not in err
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_the_demo_ends_by_itself_after_a_while(tmp_path: Path) -> None:
    for expected in ("new, 0 changed", "0 new, 0 changed, 0 deleted"):
        ended = subprocess.run(
            command("demo", "demo-data", "--no-traffic", "--for", "100ms", "--readers", "1"),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (ended.returncode, ended.stdout) == (0, "")
        assert expected in ended.stderr
        assert "No traffic" in ended.stderr


def test_directories_with_blanks_are_quoted_for_the_shell() -> None:
    assert any("'my data'" in line for line in guide("my data", "click", "rich", 0))


def test_the_program_is_named_as_it_can_be_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "dagbox"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/usr/bin")
    assert "  bin/dagbox top data" in guide("data", "click", "rich", 0)
    monkeypatch.setenv("PATH", str(program.parent))
    assert "  dagbox top data" in guide("data", "click", "rich", 0)
    monkeypatch.setattr(sys, "argv", ["/site/dagbox/__main__.py"])
    assert f"  {sys.executable} -m dagbox top data" in guide("data", "click", "rich", 0)


@pytest.mark.parametrize("name", ["click", "typing-extensions"])
@pytest.mark.parametrize("directory", ["data", "/home/somebody/.local/share/dagbox/demo"])
def test_what_the_demo_says_fits_80_columns_and_can_be_copied(
    name: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/nowhere/python"])
    monkeypatch.setattr("sys.executable", "/home/somebody/project/.venv/bin/python")
    lines = guide(directory, name, name, 40.0)
    assert max(map(len, lines)) <= 80
    commands = [line for line in "\n".join(lines).replace("\\\n", "").split("\n") if " -m dagbox " in line]
    assert len(commands) == 11
    for command in commands:
        words = shlex.split(command)
        assert words[:3] == ["/home/somebody/project/.venv/bin/python", "-m", "dagbox"]
        assert directory in words
    assert any(f'needs(X, "{name}")' in shlex.split(command) for command in commands)


def test_what_the_demo_tells_fits_80_columns() -> None:
    told: list[str] = []
    demo = Demo("data", NodeSettings(), DemoSettings(), told.append)
    demo._tell("loaded the Python distributions of this machine in 12.3 s: " + ", ".join(["1,234 requirements"] * 6))
    assert len(told) > 1
    assert max(map(len, told)) <= 80
