"""The public names under mypy --strict and pyright's strict mode: a right program passes, each wrong line fails."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dagbox
from dagbox import errors
from dagbox.client import fields
from dagbox.client.fields import FieldMap

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("program.py")
WRONG = """\
import dagbox
dagbox.opne("data")
dagbox.open("data", durabilty="full")
dagbox.open("data", durability="ful")
dagbox.open("data", map_size="1 GB")
dagbox.connect("data", timeout="soon")
db = dagbox.open("data")
db.putt("user", {})
db.put("user", {}, ttl="1h")
db.get_record("user", "ada", default=None).version
db.status().broker.uptime
db.workers()[0].nam
db.why("p(X)").childs
dagbox.Conflcit
"""
LINES = set(range(2, 15)) - {7}
"""The lines that are wrong."""


def mypy(path: Path) -> set[int]:
    """Return the lines in which mypy finds errors."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    command += ["--cache-dir", str(path.parent / "cache"), str(path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert ended.returncode in (0, 1), ended.stderr
    return {int(line) for line in re.findall(rf"{re.escape(path.name)}:(\d+): error", ended.stdout)}


def pyright(path: Path) -> set[int]:
    """Return the lines in which pyright finds errors."""
    (path.parent / "pyrightconfig.json").write_text('{"include": ["."], "typeCheckingMode": "strict"}')
    command = [str(Path(sys.executable).with_name("basedpyright")), "-p", str(path.parent), "--outputjson"]
    command += ["--pythonpath", sys.executable]
    ended = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=110)
    found = json.loads(ended.stdout)["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"}


@pytest.mark.parametrize("check", [mypy, pyright])
def test_a_right_program_passes_and_each_wrong_line_fails(tmp_path: Path, check: object) -> None:
    assert check in (mypy, pyright)
    run = mypy if check is mypy else pyright
    (tmp_path / "right").mkdir()
    (tmp_path / "wrong").mkdir()
    right, wrong = tmp_path / "right" / "program.py", tmp_path / "wrong" / "wrong.py"
    right.write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
    wrong.write_text(WRONG, encoding="utf-8")
    assert run(right) == set()
    assert run(wrong) == LINES


def test_every_error_and_every_class_of_answers_is_a_public_name() -> None:
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and not name.startswith("_")}
    assert {name for name in found if issubclass(getattr(errors, name), errors.DagBoxError)} <= set(dagbox.__all__)
    for name in dagbox.__all__:
        assert getattr(dagbox, name) is not None


def test_only_public_names_are_listed() -> None:
    assert [name for name in dir(dagbox) if not name.startswith("__")] == sorted(dagbox.__all__)
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        dagbox.opne  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"map_size": "1 GB"}, "map_size"),
        ({"map_size": 0}, "map_size"),
        ({"max_buckets": 1.5}, "max_buckets"),
        ({"readonly": "yes"}, "readonly"),
        ({"durability": "ful"}, "durability"),
        ({"durability": None}, "durability"),
        ({"timeout": "soon"}, "timeout"),
        ({"serve": 1}, "serve"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named_and_nothing_is_made(
    tmp_path: Path, settings: dict[str, object], named: str
) -> None:
    with pytest.raises(dagbox.InvalidArgument, match=named) as caught:
        dagbox.open(tmp_path / "data", **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def declared(cls: type[FieldMap]) -> set[str]:
    """Return the fields that a class declares, without those that may be absent."""
    return {name for name in cls.__annotations__ if not name.startswith("_")} - set(cls._absent)


def check_fields(value: FieldMap, where: str) -> None:
    """Fail if a map lacks a declared field, or has one that is not declared."""
    cls = type(value)
    if cls is fields.Fields:
        return
    known = set(cls.__annotations__)
    assert declared(cls) <= set(value), where
    if cls not in (fields.StoreFigures, fields.LockFigures):  # these have figures for the machine room too
        assert set(value) <= known, where
    for name, item in value.items():
        for part in item if isinstance(item, list) else [item]:
            if isinstance(part, FieldMap):
                check_fields(part, f"{where}.{name}")


def test_answers_have_the_fields_that_their_classes_declare(tmp_path: Path) -> None:
    with dagbox.open(tmp_path, serve=True) as db, dagbox.connect(tmp_path) as client:
        client.put("user", {"name": "Ada"}, key="ada")
        client.add_rule("r(X) :- p(X, Y).")
        client.assert_fact("p", 1, 2)
        answers = [client.status(), *client.services(), *client.workers(), *client.events(), *client.traces()]
        assert {type(answer).__name__ for answer in answers} == {
            "Event",
            "ServiceStatus",
            "Status",
            "Trace",
            "WorkerStatus",
        }
        for answer in answers:
            check_fields(answer, type(answer).__name__)
        proof = client.why("r(1)")
        assert (proof.holds, proof.kind, proof.rule, proof.children[0].text) == (
            True,
            "rule",
            "r(X) :- p(X, Y).",
            "p(1, 2)",
        )
        assert (proof.children[0].rule, proof.children[0].children, proof.reasons) == (None, [], [])
        none = db.why("r(7)")
        assert (none.holds, none.kind, none.goal, none.reasons[0].condition) == (False, "none", "r(7)", "p(7, Y)")
        assert type(none.reasons[0]) is fields.Reason
