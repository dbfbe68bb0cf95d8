"""query, why, explain, rules, facts, on a directory without a node and through one."""

from __future__ import annotations

import pytest

import dagbox
from tests.commands.conftest import Run

RULES = ("needs(X, Y) :- depends(X, Y).", "needs(X, Z) :- depends(X, Y), needs(Y, Z).")


@pytest.fixture(params=["embedded", "node"])
def directory(request: pytest.FixtureRequest, run: Run) -> str:
    """A directory with three facts and two rules: app needs lib, lib needs core."""
    at: str = "data" if request.param == "embedded" else request.getfixturevalue("node")
    added = run("rules", "--add", RULES[0], "--add", RULES[1], "--at", at, "--format", "json")
    assert [row["text"] for row in added.rows] == list(RULES)
    for fact in (("app", "lib"), ("lib", "core"), ("core", "3")):
        assert run("facts", "--add", "depends", *fact, "--at", at).status == 0
    return at


def test_queries_have_rows(run: Run, directory: str) -> None:
    assert run("query", "needs(lib, X)", "--at", directory, "--format", "json").rows == [{"X": 3}, {"X": "core"}]
    assert run("query", "needs(lib, X)", "--order", "-X", "--at", directory).out == "X\ncore\n3\n"
    assert run("query", "needs(app, X)", "-n", "1", "--at", directory, "--format", "json").rows == [{"X": 3}]
    goal = ", ".join(f"needs(X{number}, Y{number})" for number in range(20))
    assert len(run("query", goal, "-n", "2", "--order", "any", "--at", directory, "--format", "json").rows) == 2
    assert run("query", "needs($a, core)", "--param", "a=lib", "--at", directory).out == "yes\n"
    none = run("query", "needs(core, app)", "--at", directory)
    assert (none.status, none.out, none.err) == (0, "", "no rows\n")


def test_queries_fetch_records(run: Run, directory: str) -> None:
    run("put", "package/core", '{"name": "Core", "by": {"$ref": "author/ada"}}', "--at", directory)
    run("put", "author/ada", '{"name": "Ada"}', "--at", directory)
    (row,) = run(
        "query",
        "depends(lib, X)",
        "--fetch",
        "X=package",
        "--with",
        "by: via by",
        "--at",
        directory,
        "--format",
        "json",
    ).rows
    assert row["X"]["data"]["name"] == "Core"
    assert row["X"]["relations"]["by"][0]["data"] == {"name": "Ada"}


def test_why_shows_the_proof_or_what_failed(run: Run, directory: str) -> None:
    assert run("why", "needs(app, core)", "--at", directory).out.splitlines() == [
        f"needs(app, core)  by  {RULES[1]}",
        "  depends(app, lib)  fact",
        f"  needs(lib, core)  by  {RULES[0]}",
        "    depends(lib, core)  fact",
    ]
    failed = run("why", "needs(core, app)", "--at", directory)
    assert failed.status == 0
    assert "condition: depends(core, app)" in failed.out
    (tree,) = run("why", "needs(app, lib)", "--at", directory, "--format", "json").rows
    assert tree["text"] == "needs(app, lib)"


def test_explain_shows_the_plan(run: Run, directory: str) -> None:
    shown = run("explain", "needs(app, X)", "--at", directory)
    assert shown.status == 0
    assert "goal: needs(app, X)" in shown.out


def test_facts_and_rules_are_listed_added_and_dropped(run: Run, directory: str) -> None:
    facts = run("facts", "depends", "--at", directory, "--format", "json").rows
    assert {"predicate": "depends", "args": ["core", 3]} in facts
    assert run("facts", "--add", "depends", "app", "lib", "--at", directory).err == "it was there\n"
    assert run("facts", "--drop", "depends", "core", "3", "--at", directory).err == "retracted\n"
    assert run("facts", "--drop", "depends", "core", "3", "--at", directory).err == "it was not there\n"
    ids = {row["text"]: row["id"] for row in run("rules", "--at", directory, "--format", "json").rows}
    assert run("rules", "--drop", ids[RULES[1]], "--at", directory).status == 0
    assert run("query", "needs(app, core)", "--at", directory).err == "no rows\n"
    missing = run("rules", "--drop", "nothing", "--at", directory)
    assert missing.status == 1
    assert "no rule nothing" in missing.err


def test_the_error_for_a_wrong_rule_has_its_position_and_nothing_is_stored(run: Run, directory: str) -> None:
    before = run("rules", "--at", directory).out
    for rule, message in (
        ("p(X) :- q(Y).", "X stands in the head"),
        ("p(X :-", "line 1, column"),
        ("p(X) :- q(X), not p(X).", "depends on itself"),
    ):
        ended = run("rules", "--add", "good(X) :- depends(X, Y).", "--add", rule, "--at", directory)
        assert (ended.status, ended.out) == (1, "")
        assert message in ended.err
        assert ended.err.count("\n") == (3 if message.startswith("line") else 1)
    assert run("rules", "--at", directory).out == before


def test_booleans_are_written_as_they_are_read(run: Run) -> None:
    for value in ("true", "false", "1"):
        assert run("facts", "--add", "on", "lamp", value, "--at", "lit").status == 0
    assert run("facts", "on", "--at", "lit", "--format", "json").rows == [
        {"predicate": "on", "args": ["lamp", value]} for value in (True, False, 1)
    ]
    assert "lamp, true" in run("facts", "on", "--at", "lit").out
    assert run("query", "on(lamp, X)", "--at", "lit", "--format", "json").rows == [{"X": v} for v in (False, True, 1)]
    assert run("query", "on(X, true)", "--at", "lit", "--format", "json").rows == [{"X": "lamp"}]
    exported = run("export", "--at", "lit").out
    assert '{"fact":["on","lamp",true]}\n' in exported
    assert run("import", "--at", "copied", stdin=exported).status == 0
    assert sorted(run("export", "--at", "copied").out.splitlines()) == sorted(exported.splitlines())


@pytest.mark.parametrize(
    ("typed", "meant", "shown"),
    [
        ("36", 36, "36"),
        ("-2.5", -2.5, "-2.5"),
        ("1e3", 1000, "1000"),
        ('"36"', "36", '"36"'),
        ('"true"', "true", '"true"'),
        ('"Ada \\"L.\\""', 'Ada "L."', '"Ada \\"L.\\""'),
        ("ada", "ada", "ada"),
        ("Ada L.", "Ada L.", '"Ada L."'),
        ("nan", "nan", "nan"),
        ("Nan", "Nan", '"Nan"'),
        ("inf", "inf", "inf"),
        ("1_000", "1_000", '"1_000"'),
        ("2026-01-31", "2026-01-31", '"2026-01-31"'),
        ("2026-01-31T13:00:00+01:00", {"$time": "2026-01-31T12:00:00+00:00"}, "2026-01-31T12:00:00+00:00"),
        ('"2026-01-31T12:00:00Z"', "2026-01-31T12:00:00Z", '"2026-01-31T12:00:00Z"'),
    ],
)
def test_arguments_of_facts_are_what_they_look_like(run: Run, typed: str, meant: object, shown: str) -> None:
    assert run("facts", "--add", "said", "--at", "data", "--", typed).err == "asserted\n"
    assert run("facts", "said", "--at", "data", "--format", "json").rows == [{"predicate": "said", "args": [meant]}]
    assert run("facts", "said", "--at", "data").out.split("\n")[1].split(None, 1) == ["said", shown]
    assert run("query", "said($x)", f"--param=x={typed}", "--at", "data").out == "yes\n"
    if not isinstance(meant, float):
        assert run("facts", "--drop", "said", "--at", "data", "--", shown).err == "retracted\n"


def test_times_are_written_as_they_are_read(run: Run) -> None:
    wrong = run("facts", "--add", "born", "ada", "1815-12-10T00:00:00", "--at", "lit")
    assert wrong.status == 2
    assert "1815-12-10T00:00:00: a time needs a time zone, such as +00:00; a text has quotes" in wrong.err
    assert run("facts", "--add", "born", "ada", "1815-12-10T00:00:00Z", "--at", "lit").status == 0
    assert run("query", "born(X, T), T < 1900-01-01T00:00:00Z", "--at", "lit", "--format", "json").rows == [
        {"X": "ada", "T": {"$time": "1815-12-10T00:00:00+00:00"}}
    ]
    exported = run("export", "--at", "lit").out
    assert exported == '{"fact":["born","ada",{"$time":"1815-12-10T00:00:00+00:00"}]}\n'
    assert run("import", "--at", "copied", stdin=exported).status == 0
    assert run("export", "--at", "copied").out == exported
    assert run("why", "born(ada, T)", "--at", "lit").out.startswith("born(ada, 1815-12-10T00:00:00+00:00)")


def test_facts_and_rules_are_exported_and_imported(run: Run) -> None:
    with dagbox.open("data") as db:
        db.add_rule("derive kind(key, data) from thing.")
        db.put("thing", "tool", key="saw")
        db.assert_fact("likes", "ada", 1.5)
    exported = run("export").out
    assert '{"fact":["likes","ada",1.5]}\n' in exported
    assert "kind" not in exported.replace("derive kind(key, data) from thing.", "")
    done = run("import", "--at", "copy", stdin=exported)
    assert done.out == "1 record, 1 fact, 1 rule\n"
    assert run("query", "kind(X, tool)", "--at", "copy", "--format", "json").rows == [{"X": "saw"}]
    assert run("export", "--no-logic").rows == [{"bucket": "thing", "key": "saw", "data": "tool"}]


def test_a_wrong_rule_is_shown_with_a_caret_below_the_position(run: Run) -> None:
    ended = run("rules", "data", "--add", "p(X) :- q(X), not r(X.")
    assert (ended.status, ended.out) == (1, "")
    told, text, caret = ended.err.splitlines()
    assert "line 1, column 22" in told
    assert text.strip() == "p(X) :- q(X), not r(X."
    assert text[caret.index("^")] == "."
