"""Each check of `make check` fails on a planted violation: a check that passes whatever is there checks nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "screenshots", "*.tcss")

IMPORTS = {
    "Layers": ("dagbox/broker/model.py", "import dagbox.client"),
    "Machines are pure": ("dagbox/locks/table.py", "import time"),
    "Only the transport and the runtime know ZeroMQ": ("dagbox/store/memory.py", "import zmq"),
    "The faces use public names": ("dagbox/shell/output.py", "import dagbox.store.memory"),
}
"""Contract -> a file, and a line in it that breaks the contract."""
GENERATED = {
    "unasync.py": "dagbox/client/_sync/database.py",
    "architecture_docs.py": "docs/layers.svg",
    "cli_docs.py": "docs/cli.md",
    "shell_docs.py": "docs/shell.md",
    "protocol_docs.py": "docs/protocol.md",
    "limits_docs.py": "docs/limits.md",
}
"""Script -> a file that it keeps."""


def run(command: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a copy of the project, whose package comes before the installed one."""
    environment = {**os.environ, "PYTHONPATH": str(place), "COLUMNS": "200"}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=110)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what the checks look at. Each test puts back what it changes."""
    place = tmp_path_factory.mktemp("project")
    for folder in ("dagbox", "docs", "scripts"):
        shutil.copytree(ROOT / folder, place / folder, ignore=LEFT_OUT)
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def test_each_contract_of_imports_fails(project: Path) -> None:
    kept = {name: (project / name).read_text(encoding="utf-8") for name, _ in IMPORTS.values()}
    for name, line in IMPORTS.values():
        (project / name).write_text(kept[name] + f"\n{line}\n", encoding="utf-8")
    ended = run([str(BIN / "lint-imports"), "--no-cache"], project)
    for name, text in kept.items():
        (project / name).write_text(text, encoding="utf-8")
    assert ended.returncode == 1
    broken = [line for line in ended.stdout.splitlines() if line.endswith("BROKEN")]
    assert [any(line.startswith(name) for line in broken) for name in IMPORTS] == [True] * len(IMPORTS), ended.stdout


@pytest.mark.parametrize("script", GENERATED)
def test_each_generated_file_is_compared(project: Path, script: str) -> None:
    path = project / GENERATED[script]
    kept = path.read_text(encoding="utf-8")
    command = [sys.executable, f"scripts/{script}", "--check"]
    assert run(command, project).returncode == 0
    begin = max(0, kept.find("enerated")) + 200  # parts of some pages are written by hand
    marker = kept.index("e", begin)
    path.write_text(kept[:marker] + "E" + kept[marker + 1 :], encoding="utf-8")
    ended = run(command, project)
    path.write_text(kept, encoding="utf-8")
    assert ended.returncode == 1, ended.stdout


def test_types_are_checked_in_the_package_the_tests_and_the_examples(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("dagbox", "tests", "examples"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
        (tmp_path / folder / f"wrong_{folder}.py").write_text(
            "def double(value):\n    return 2 * value\n", encoding="utf-8"
        )
    ended = run([sys.executable, "-m", "mypy"], tmp_path)
    assert ended.returncode == 1
    assert {line.partition(":")[0] for line in ended.stdout.splitlines() if "error:" in line} == {
        "dagbox/wrong_dagbox.py",
        "tests/wrong_tests.py",
        "examples/wrong_examples.py",
    }


def test_pyright_checks_the_program_of_the_public_names(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests" / "typing").mkdir(parents=True)
    (tmp_path / "tests" / "typing" / "program.py").write_text("import dagbox\ndagbox.opne\n", encoding="utf-8")
    ended = run([str(BIN / "basedpyright"), "--pythonpath", sys.executable], tmp_path)
    assert ended.returncode == 1
    assert "program.py:2" in ended.stdout


def test_style_is_checked(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "wrong.py").write_text("import os\nx = {  }\n", encoding="utf-8")
    assert "F401" in run([str(BIN / "ruff"), "check", "--no-cache", "."], tmp_path).stdout
    assert run([str(BIN / "ruff"), "format", "--no-cache", "--check", "."], tmp_path).returncode == 1


LONG_FUNCTION = "def long():\n" + "    pass\n" * 62
STRUCTURE = {
    "file": {"dagbox/long.py": "\n" * 601},
    "folder": {f"dagbox/many/m{n}.py": "" for n in range(16)},
    "function": {"dagbox/long.py": LONG_FUNCTION},
    "docstring": {"dagbox/asks.py": '"""What it is."""\n'},
    "circle": {
        "dagbox/one.py": "from dagbox.two import x\n",
        "dagbox/two.py": "try:\n    from dagbox import one\nfinally:\n    pass\n",
    },
    "late circle": {
        "dagbox/one.py": "from dagbox.two import x\n",
        "dagbox/two.py": "def late():\n    from dagbox.one import y\n",
    },
}
"""Kind of problem -> files that have it."""
FINE = {
    "dagbox/__init__.py": "",
    "dagbox/one.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dagbox.two import x\n",
    "dagbox/two.py": '"""Return it."""\nfrom dagbox.one import y\ndef late():\n    from dagbox.three import z\n',
    "dagbox/three.py": "",
}


def structure(place: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (place / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "structure.py", place / "scripts")
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    return run([sys.executable, "scripts/structure.py"], place)


@pytest.mark.parametrize("kind", STRUCTURE)
def test_each_rule_of_structure_fails(tmp_path: Path, kind: str) -> None:
    ended = structure(tmp_path, {"dagbox/__init__.py": "", **STRUCTURE[kind]})
    assert ended.returncode == 1
    assert ended.stderr.startswith("dagbox"), ended.stderr


def test_code_in_order_passes(tmp_path: Path) -> None:
    ended = structure(tmp_path, FINE)
    assert (ended.returncode, ended.stderr) == (0, "")
