"""Commands on a real store, as a script runs them: what they print, refuse and leave behind."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import dagbox
from dagbox.shell.output import Output
from dagbox.shell.settings import Environment, load_configuration
from dagbox.text.terminal import cell_width
from tests.shell.conftest import Driven, refuse

PEOPLE = (
    'put user/ada {"name": "Ada", "team": @team/core}',
    'put user/bob {"name": "Bob", "team": @team/core, "friends": [@user/ada, @user/nobody]}',
    'put team/core {"lead": @user/ada}',
)


@pytest.fixture
def people(driven: Driven) -> Driven:
    assert driven.run(*PEOPLE), driven.take_errors()
    driven.take()
    return driven


def test_records_are_written_read_and_deleted(driven: Driven) -> None:
    (written,) = driven.documents('put user/ada {"name": "Ada"}')
    assert written == {"bucket": "user", "key": "ada", "version": 1}
    (record,) = driven.documents("get user/ada")
    assert record == {"bucket": "user", "key": "ada", "version": 1, "data": {"name": "Ada"}}
    assert "add --yes" in driven.error("del user/ada")
    assert "delete user/ada, version 1" in driven.error("del user/ada")
    (deleted,) = driven.documents("del user/ada --yes")
    assert deleted == {"bucket": "user", "key": "ada", "deleted": True}
    assert "no bucket 'user'" in driven.error("get user/ada")


def test_nested_relations_in_one_command(people: Driven) -> None:
    (node,) = people.documents(
        "get user/bob {\n friends: via friends { team: via team { lead: via lead } }\n x: user/ada }"
    )
    friends = node["relations"]["friends"]
    assert [friend["key"] for friend in friends] == ["ada", "nobody"]
    assert (
        friends[1] == {"bucket": "user", "key": "nobody", "found": False, "relations": {"team": []}}
        or friends[1]["found"] is False
    )
    assert friends[0]["relations"]["team"][0]["relations"]["lead"][0]["key"] == "ada"
    (cut,) = people.documents("get user/bob { friends: via friends limit 1 }")
    assert cut["more"] == {"friends": 1}
    (same,) = people.documents(
        'get {"bucket": "user", "key": "bob", "relations": {"friends": {"path": "friends", "limit": 1}}}'
    )
    assert same == cut


def test_a_record_that_is_missing_fails_after_the_others_are_shown(people: Driven) -> None:
    assert "no record user/zoe" in people.error("get user/ada user/zoe user/bob")
    shown = [json.loads(line) for line in people.take().splitlines()]
    assert [each.get("found", True) for each in shown] == [True, False, True]


def test_puts_compare_and_set_and_live_for_a_time(driven: Driven) -> None:
    assert driven.run("put a/b 1 --new")
    assert "should be absent" in driven.error("put a/b 2 --new")
    assert "should be at version 7" in driven.error("put a/b 2 --if-version 7")
    assert driven.run("put a/b 2 --if-version 1")
    assert driven.run("put a/c 3 --ttl 1ms", "put a/ {}")
    keys = [row["key"] for row in driven.documents("ls a")]
    assert "b" in keys


def test_a_value_comes_from_a_file(driven: Driven, tmp_path: Path) -> None:
    (tmp_path / "value.json").write_text('{"x": {"$ref": "a/b"}}')
    (tmp_path / "bad.json").write_text('{\n "x": nope}')
    assert driven.run(f"put a/c @{tmp_path}/value.json")
    assert driven.shell.db.get("a", "c") == {"x": dagbox.Ref("a", "b")}
    (tmp_path / "marked.json").write_text("[1]", encoding="utf-8-sig")
    assert driven.run(f"put a/m @{tmp_path}/marked.json")
    assert "bad.json, line 2, column 7: nope is not JSON" in driven.error(f"put a/d @{tmp_path}/bad.json")
    assert "cannot read" in driven.error(f"put a/d @{tmp_path}/absent.json")


def test_scans_are_ordered_limited_and_say_what_is_left(people: Driven) -> None:
    assert [row["key"] for row in people.documents("scan user")] == ["ada", "bob"]
    assert [row["key"] for row in people.documents("scan user --reverse --limit 1")] == ["bob"]
    assert "these are the first 1" in people.take_errors()
    assert [row["key"] for row in people.documents("scan user --start b")] == ["bob"]
    assert [row["key"] for row in people.documents("ls user/a")] == ["ada"]
    assert people.documents("ls") == [{"bucket": "team", "records": 1}, {"bucket": "user", "records": 2}]
    assert "no bucket 'ghosts'" in people.error("scan ghosts")


def test_peek_tells_what_a_record_is_without_its_data(people: Driven) -> None:
    (found,) = people.documents("peek user/bob")
    assert found["refs"] == ["team/core", "user/ada", "user/nobody"]
    assert found["fields"]["friends"] == "list of 2 elements: ref"
    assert found["type"] == "map"
    assert found["size_bytes"] > 20


def test_a_bucket_in_use_needs_no_name(people: Driven) -> None:
    assert people.run("use user")
    assert people.documents("get ada")[0]["key"] == "ada"
    assert [row["key"] for row in people.documents("ls")] == ["ada", "bob"]
    assert people.run("put /x/y 1", "use")
    assert people.shell.db.get("user", "x/y") == 1
    assert "names no record" in people.error("get ada")


def test_a_batch_is_all_or_nothing(people: Driven) -> None:
    assert people.run("batch", "put user/zoe {}", "del user/ada", "put user/bob {} --if-version 99")
    assert [row["key"] for row in people.documents("ls user")] == ["ada", "bob"]
    assert "among them del user/ada" in people.error("commit")
    assert "should be at version 99" in people.error("commit --yes")
    assert [row["key"] for row in people.documents("ls user")] == ["ada", "bob"]
    assert people.run("abort", "batch", "put user/zoe {}", "del user/ada", "commit --yes")
    assert [row["key"] for row in people.documents("ls user")] == ["bob", "zoe"]
    assert "no batch is open" in people.error("commit")


@pytest.mark.parametrize(
    "text", ["get user/zoe", "get user/ada user/zoe", "get user/zoe { team: via team }", "peek user/zoe"]
)
def test_a_record_that_is_missing_may_be_in_the_open_batch(people: Driven, text: str) -> None:
    assert people.error(text).rstrip() == "error: no record user/zoe"
    assert people.run("batch", "put user/zoe {}")
    assert "no record user/zoe, without the 1 write of the open batch: commit does them" in people.error(text)


def test_a_scan_says_that_it_does_not_see_the_open_batch(people: Driven) -> None:
    people.run("batch", "put user/zoe {}", "scan user")
    assert "without the 1 write of the open batch: commit does them" in people.take_errors()


def test_commit_asks_a_person_before_it_overwrites(people: Driven) -> None:
    asked: list[str] = []
    people.shell.ask = partial(refuse, asked)
    assert people.run("batch", "put user/ada {}", "put user/new {}", "put user/bob {} --if-version 2", "put user/ {}")
    assert not people.run("commit")
    assert asked == ["This will commit 4 writes, among them put user/ada over version 1. Go on?"]
    assert people.run("del user/bob")
    assert not people.run("commit")
    assert asked[1] == "This will commit 5 writes, among them del user/bob; put user/ada over version 1. Go on?"
    assert people.shell.db.get("user", "ada")["name"] == "Ada"
    assert people.run("abort", "batch", "put user/new {}", "commit")
    assert len(asked) == 2
    people.shell.ask = None
    assert people.run("batch", "put user/ada {}", "commit"), "in a script `put` needs no --yes either"


def test_what_cannot_be_collected_is_refused_while_a_batch_is_open(people: Driven, tmp_path: Path) -> None:
    people.run(f"export {tmp_path}/all.jsonl", "batch")
    assert "cannot be part of a batch" in people.error(f"import {tmp_path}/all.jsonl --yes")


def test_locks_are_held_renewed_carried_and_given_back(people: Driven, directory: Path) -> None:
    assert people.run("lock user/ada --ttl 60s")
    (row,) = people.documents("locks")
    assert (row["mine"], 59 <= row["left_s"] <= 60) == (True, True)
    assert people.run("locks --format table")
    assert re.search(r"\(this shell\)  exclusive      1  (1m 00s|59\.\d s) *$", people.take(), re.MULTILINE)
    assert "holds user/ada already" in people.error("lock user/ada")
    assert people.run("renew", 'put user/ada {"name": "Fenced"}', "put x/y 1 --fence user/ada")
    people.take()
    assert "does not hold the lock other" in people.error("put x/y 2 --fence other")
    people.shell.db.release("user/ada", force=True)
    with people.shell.db.lock("user/ada"):
        assert "older than" in people.error('put user/ada {"name": "Late"}')
    assert people.run("lock a b --wait 0s")
    people.shell.give_back_locks()
    assert people.documents("locks") == []
    assert "holds no lock" in people.error("unlock")


def test_a_lost_lock_is_taken_again_as_the_message_says(people: Driven) -> None:
    def lose(key: str) -> None:
        people.shell.db.release(key, force=True)
        with suppress(dagbox.LeaseLost):
            people.shell.held[-1].lease.renew()

    assert people.run("lock user/ada --ttl 60s")
    lose("user/ada")
    assert "the lock user/ada was lost: `lock user/ada` takes it again" in people.error("put user/ada {}")
    assert people.run("lock user/ada", "put user/ada {}", "renew user/ada", "unlock user/ada")
    assert people.shell.held == []
    assert people.run("lock user/ada", "lock a b")
    lose("a")
    lose("b")
    assert "the lock a, b had been lost" in people.error("unlock")
    assert people.shell.held == []
    assert people.documents("locks") == [], "the other lock was given back nevertheless"
    assert people.run("put user/ada {}")


def test_a_lock_of_somebody_else_is_taken_only_with_force(people: Driven) -> None:
    lease = people.shell.db.lock("job", ttl=60, owner="the other").acquire()
    assert "locked by the other" in people.error("lock job")
    assert "does not hold job" in people.error("unlock job")
    assert "take 1 lock away: job from the other" in people.error("unlock job --force")
    assert people.documents("unlock job --force --yes") == [{"unlocked": ["job"]}]
    with pytest.raises(dagbox.LeaseLost):
        lease.release()


def test_a_read_only_shell_changes_nothing(people: Driven, tmp_path: Path) -> None:
    people.shell.stays_read_only = True
    people.shell.yes = True
    for text in (
        "put a/b 1",
        "del user/ada",
        "batch",
        "lock a",
        "assert a(b)",
        "unlock a --force",
        "call x",
        "edit user/ada",
    ):
        assert "read-only" in people.error(text), text
    assert people.run("get user/ada", "locks", f"export {tmp_path}/x.jsonl")


def test_exports_are_imported_again(people: Driven, tmp_path: Path) -> None:
    before = people.documents("scan user") + people.documents("scan team")
    assert people.documents(f"export {tmp_path}/all.jsonl")[0]["lines"] == 3
    assert "over those of the same keys" in people.error(f"import {tmp_path}/all.jsonl")
    assert people.run("del user/ada user/bob team/core --yes", f"import {tmp_path}/all.jsonl")
    after = people.documents("scan user") + people.documents("scan team")
    assert [(row["key"], row["data"]) for row in after] == [(row["key"], row["data"]) for row in before]
    assert "no bucket 'ghosts'" in people.error(f"export {tmp_path}/x.jsonl ghosts")
    assert not (tmp_path / "x.jsonl").exists()


def test_an_import_that_fails_names_the_line(driven: Driven, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(
        '{"bucket": "a", "key": "b", "data": 1}\n\n{"bucket": "a", "data": {"$bytes": "!"}}\n{"key": "x"}\n'
    )
    assert "line 3: " in driven.error(f"import {path}")
    assert driven.documents("ls") == []


def test_results_go_into_programs_and_files(people: Driven, tmp_path: Path) -> None:
    people.take()
    assert people.run("scan user | grep -c name")
    assert people.take().strip() == "2"
    assert people.run(f"get user/ada > {tmp_path}/out.json", f"get user/bob >> {tmp_path}/out.json")
    assert [json.loads(line)["key"] for line in (tmp_path / "out.json").read_text().splitlines()] == ["ada", "bob"]
    assert "ended with status 3" in people.error("get user/ada | (cat > /dev/null; exit 3)")
    assert people.run("scan user | true")
    assert "cannot write" in people.error(f"get user/ada > {tmp_path}/no/such/file")


def test_a_command_that_fails_leaves_the_old_file(people: Driven, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    assert not people.run(f"get user/ada user/zoe > {target}")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.glob("*.part")] == []
    assert list(tmp_path.glob(".*")) == []


def test_a_file_of_commands_stops_at_the_first_failure(people: Driven, tmp_path: Path) -> None:
    path = tmp_path / "commands"
    path.write_text('# a comment\nput a/one 1\nget a/\\\nnothing\nput a/two {\n  "x": 1\n}\n')
    assert f"{path}, line 3: stopped here" in people.error(f"source {path}")
    assert [row["key"] for row in people.documents("ls a")] == ["one"]
    people.shell.keep_going = True
    assert "1 command failed" in people.error(f"source {path}")
    assert [row["key"] for row in people.documents("ls a")] == ["one", "two"]
    path.write_text(f"source {path}\n")
    assert "runs itself" in people.error(f"source {path}")
    assert "cannot read" in people.error(f"source {tmp_path}/absent")


def test_watch_and_time_repeat_a_command(people: Driven) -> None:
    assert len(people.documents("watch --count 3 --every 1ms get user/ada")) == 3
    assert len(people.documents("watch get user/ada --count 2 --every 1ms")) == 2
    (spans,) = people.documents("time --repeat 5 get user/ada")
    assert 0 < spans["least_ms"] <= spans["median_ms"] <= spans["most_ms"]
    assert people.documents("time get user/ada")[0]["key"] == "ada"
    assert re.fullmatch(r"[\d.]+ (µs|ms|s)\n", people.take_errors())
    assert "makes no sense" in people.error("watch watch locks")
    assert "makes no sense" in people.error("watch del user/ada")


def test_settings(people: Driven, tmp_path: Path) -> None:
    assert people.run("set format raw", "get user/ada")
    assert people.take().splitlines()[-1] == '{"name": "Ada", "team": {"$ref": "team/core"}}'
    assert "no setting colour" in people.error("set colour red")
    assert "one of" in people.error("set pager maybe")
    assert "above 0" in people.error("set timeout -1")
    assert people.run("set timeout 2.5")
    assert people.shell.db.timeout == 2.5


def test_the_configuration_file(tmp_path: Path) -> None:
    path = tmp_path / "shell.toml"
    assert load_configuration(path).settings["format"] == "auto"
    path.write_text(
        '[settings]\nformat = "json"\npager = false\n'
        '[environments.production]\nmatch = "tcp://prod*"\nlabel = "PROD"\ncolour = "red"\nread_only = true\n'
    )
    configuration = load_configuration(path)
    assert (configuration.settings["format"], configuration.settings.on("pager")) == ("json", False)
    assert configuration.environment_of("tcp://prod-7:1") == Environment("PROD", "red", True)
    assert configuration.environment_of("data") == Environment()
    for text, message in (
        ("[setings]", "no section setings"),
        ('[settings]\nfromat = "json"', "no setting fromat"),
        ('[environments.x]\ncolour = "red"', "needs match"),
        ('[environments.x]\nmatch = "*"\ncolour = "pink"', "the colour is one of"),
        ("[", "cannot read"),
    ):
        path.write_text(text)
        with pytest.raises(Exception, match=message):
            load_configuration(path)


def test_what_is_wrong_is_shown_in_its_place(driven: Driven) -> None:
    assert driven.error("get user/ada } x").splitlines() == [
        "  get user/ada } x",
        "               ^",
        "error: '}' cannot stand here: put the text in quotes",
    ]


def test_every_failure_is_one_line_and_the_shell_goes_on(people: Driven) -> None:
    for text in (
        "get user/" + "x" * 600,
        "put ~own/x 1",
        "lock " + "k" * 600,
        "backup /proc/nowhere/x",
        "call nobody {}",
        "trace nope",
        "drop-rule nope --yes",
        "connect tcp://127.0.0.1:1",
    ):
        said = people.error(text)
        assert said.count("\n") == 1, said
        assert said.startswith("error: "), said
    assert people.documents("get user/ada")


def test_the_node_can_be_looked_at(people: Driven) -> None:
    (status,) = people.documents("status")
    assert {"broker", "services", "workers", "store", "locks"} <= set(status)
    assert {row["name"] for row in people.documents("services")} >= {"reader", "writer", "lock"}
    assert people.run("workers", "traces", "events", "status --format tree", "services --format table")


def test_no_rows_are_said_with_the_plural(driven: Driven) -> None:
    assert driven.run("queries --format table", "locks --format table", "facts --format tree")
    assert driven.take_errors().splitlines() == ["no queries", "no locks", "no facts"]


def test_a_backup_is_a_store(people: Driven, tmp_path: Path) -> None:
    assert people.run(f"backup {tmp_path}/copy")
    with dagbox.open(tmp_path / "copy") as copy:
        assert copy.get("user", "ada")["name"] == "Ada"


def test_the_shell_goes_to_another_directory(people: Driven, tmp_path: Path) -> None:
    assert people.run("lock a")
    refusal = people.error(f"connect {tmp_path}/other")
    assert f"this would make a new database in {tmp_path}/other and give back 1 lock" in refusal
    assert not (tmp_path / "other").exists()
    assert people.run(f"connect {tmp_path}/other --yes", "put a/b 1")
    assert people.shell.held == []
    assert people.documents("ls") == [{"bucket": "a", "records": 1}]
    assert people.run(f"connect {tmp_path}/data", "get user/ada", "connect")
    assert people.documents("ls user")


def test_leaving_gives_locks_back_and_forgets_the_batch(directory: Path, driven: Driven) -> None:
    with dagbox.open(directory) as other:
        assert driven.run("lock a b", "batch", "put x/y 1")
        assert [info.key for info in other.locks()] == ["a", "b"]
        driven.shell.close()
        assert "the batch was not committed: 1 writes" in driven.take_errors()
        assert other.buckets() == {}


FOLLOWERS = (
    "assert follows(bob, ada), follows(eve, bob)",
    "rule reaches(X, Y) :- follows(X, Y).",
    "rule reaches(X, Z) :- reaches(X, Y),\n  follows(Y, Z).",
)


@pytest.fixture
def logic(people: Driven) -> Driven:
    assert people.run(*FOLLOWERS), people.take_errors()
    people.take()
    return people


def test_facts_are_asserted_listed_and_retracted(logic: Driven) -> None:
    assert logic.documents("assert follows(bob, ada), age(ada, 36)") == [{"added": 1, "there_already": 1}]
    assert [row["fact"] for row in logic.documents("facts follows")] == ["follows(bob, ada)", "follows(eve, bob)"]
    assert [row["fact"] for row in logic.documents("facts follows --limit 1")] == ["follows(bob, ada)"]
    assert logic.documents("retract follows(bob, ada), follows(no, one)") == [{"removed": 1, "not_there": 1}]


def test_queries_give_rows_records_and_yes_or_no(logic: Driven) -> None:
    assert logic.documents("query reaches(eve, X) --order X") == [{"X": "ada"}, {"X": "bob"}]
    assert len(logic.documents("query reaches(eve, X) --limit 1")) == 1
    assert "there are more" in logic.take_errors()
    # All rows, which are sorted for a limit too, are more than a query may derive.
    goal = ", ".join(f"follows(X{number}, Y{number}), reaches(Z{number}, W{number})" for number in range(20))
    assert len(logic.documents(f"query {goal} --limit 3 --order any")) == 3
    logic.take_errors()
    assert logic.documents("query reaches(eve, ada)") == [{"holds": True}]
    assert logic.documents("query reaches(ada, eve)") == [{"holds": False}]
    rows = logic.documents("query reaches(eve, X) fetch X in user { team: via team } --order X")
    assert [row["X"]["data"]["name"] for row in rows] == ["Ada", "Bob"]
    assert rows[0]["X"]["relations"]["team"][0]["key"] == "core"
    (node,) = logic.documents("get user/ada { fans: where reaches(X, $key) in user limit 1 }")
    assert [fan["key"] for fan in node["relations"]["fans"]] == ["bob"]


def test_why_draws_the_proof_or_what_failed(logic: Driven) -> None:
    assert logic.run("why reaches(eve, ada) --format tree")
    assert logic.take().splitlines() == [
        "reaches(eve, ada)  by reaches(X, Z) :- reaches(X, Y), follows(Y, Z).",
        "├─ reaches(eve, bob)  by reaches(X, Y) :- follows(X, Y).",
        "│  └─ follows(eve, bob)  fact",
        "└─ follows(bob, ada)  fact",
    ]
    assert logic.run("why reaches(ada, eve) --format tree")
    refuted = logic.take()
    assert refuted.startswith("reaches(ada, eve)  does not hold\n")
    assert "follows(ada, eve) failed  in reaches(X, Y) :- follows(X, Y)." in refuted
    assert logic.documents("why reaches(eve, ada)")[0]["text"] == "reaches(eve, ada)"
    assert logic.documents("explain reaches(eve, X)")


def test_rules_are_checked_listed_and_dropped(logic: Driven) -> None:
    assert "X stands in a negation" in logic.error("rule bad(X) :- not q(X).")
    rules = logic.documents("rules")
    assert len(rules) == 2
    assert "remove the rule reaches" in logic.error(f"drop-rule {rules[0]['id']}")
    assert logic.run(f"drop-rule {rules[0]['id']} --yes")
    assert len(logic.documents("rules")) == 1
    assert "no rule nope" in logic.error("drop-rule nope --yes")
    assert logic.documents("queries") == []
    assert "no query" in logic.error("stop nope")


def test_facts_and_rules_are_exported_and_imported(logic: Driven, tmp_path: Path) -> None:
    assert logic.documents(f"export {tmp_path}/all.jsonl")[0]["lines"] == 3 + 2 + 2
    assert logic.run(f"connect {tmp_path}/other --yes")
    (done,) = logic.documents(f"import {tmp_path}/all.jsonl")
    assert (done["records"], done["facts"], done["rules"]) == (3, 2, 2)
    assert logic.documents("query reaches(eve, X) --order X") == [{"X": "ada"}, {"X": "bob"}]


def test_facts_and_records_change_together(logic: Driven) -> None:
    assert logic.run("batch", "put user/zoe {}", "assert follows(zoe, eve)", "retract follows(bob, ada)", "commit")
    assert logic.documents("query reaches(zoe, X) --order X") == [{"X": "bob"}, {"X": "eve"}]


def test_records_are_deleted_by_prefix_after_saying_how_many(people: Driven) -> None:
    with people.shell.db.batch() as batch:
        for number in range(2_100):
            batch.put("session", number, key=f"2024-{number:04}")
        batch.put("session", 1, key="2025-0001")
    refusal = people.error("del-prefix session/2024-")
    assert "this would delete 2,100 records of session: 2024-0000 to 2024-2099: add --yes" in refusal
    asked: list[str] = []
    people.shell.ask = partial(refuse, asked)
    assert "nothing was done" in people.error("del-prefix session")
    assert asked == ["This will delete 2,101 records of session: 2024-0000 to 2025-0001. Go on?"]
    assert people.documents("del-prefix session/2024- --yes") == [
        {"bucket": "session", "prefix": "2024-", "deleted": 2_100}
    ]
    assert [record.key for record in people.shell.db.scan("session")] == ["2025-0001"]
    assert people.documents("del-prefix session/2024-")[0]["deleted"] == 0
    people.shell.stays_read_only = True
    assert "read-only" in people.error("del-prefix session --yes")


def test_services_and_workers_fit_eighty_columns(people: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    span = {"p99_ms": 120.0}
    service = {
        "name": "reader", "waiting": 7, "in_flight": 3, "live": 2, "late": 0, "dead": 1, "done": 41_920,
        "errors": 8, "rate": 37.7, "wait": span, "work": span, "paused": False,
    }  # fmt: skip
    worker = {
        "name": "reader-1", "service": "reader", "state": "live", "pid": 28_577, "host": "vm", "heard_ms": 231.0,
        "in_use": 3, "credit": 65_536, "done": 20_988, "errors": 0, "rate": 19.1, "cpu": 2.0, "rss": 34_000_000,
    }  # fmt: skip
    monkeypatch.setattr(people.shell.db, "services", lambda: [service])
    monkeypatch.setattr(people.shell.db, "workers", lambda: [worker])
    assert people.run("set format table", "services", "workers")
    lines = people.take().splitlines()
    assert "2, 1 dead" in "".join(lines)
    service["paused"] = True
    assert people.run("services")
    assert "7 paused" in people.take()
    assert max(map(len, lines)) <= 80


def test_a_word_means_the_same_record_to_every_command(people: Driven) -> None:
    """After `use` a bare word is a key of the bucket, for records, prefixes and locks alike."""
    db = people.shell.db
    with db.lock("user/bob", owner="another") as other:
        assert people.run("use user")
        assert "locked by another" in people.error("lock bob")
        assert "take 1 lock away: user/bob from another" in people.error("unlock bob --force")
        assert people.run("lock ada", "lock job --plain")
        assert sorted(info.key for info in db.locks()) == ["job", "user/ada", "user/bob"]
        people.take()
        assert [row["key"] for row in people.documents("renew ada")] == ["user/ada"]
        assert "does not hold user/job" in people.error("unlock job")
        assert people.run('put ada {"name": "Ada"} --fence ada', 'put bob {"name": "Bob"} --fence job')
        assert people.run("unlock ada", "unlock job --plain")
        assert [info.token for info in db.locks()] == [other.token]
    people.take()
    assert [row["key"] for row in people.documents("ls a")] == ["ada"]
    assert [row["key"] for row in people.documents("scan b")] == ["bob"]
    assert [row["key"] for row in people.documents("ls team/")] == ["core"]
    assert people.documents("ls team") == []
    assert "team is a bucket too: ls team/" in people.take_errors()


@pytest.mark.parametrize("columns", [40, 80])
def test_the_line_above_a_watch_fits_the_terminal(
    people: Driven, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(Output, "size", property(lambda self: (columns, 24)))
    people.shell.ask = partial(refuse, [])
    people.shell.output.terminal = True
    long = f"get user/ada {{ a: via {'x' * 100} }}"
    for text in ("get user/ada", long):
        people.take_errors()
        assert people.run(f"watch {text} --count 1 --every 2s"), people.take_errors()
        header = people.take_errors().splitlines()[0]
        assert cell_width(header) <= columns
        assert header.startswith("every 2.0 s: get" if columns == 80 else "every 2.0 s: ")
        assert header.endswith("Ctrl-C ends it" if columns == 80 else "…")


@pytest.mark.parametrize("text", ["ls > a\0b", "ls | cat a\0b", "source a\0b", "connect a\0b", "g\0e\0t\0 \0b", "\0"])
def test_a_null_character_is_refused_wherever_it_stands(people: Driven, text: str) -> None:
    assert "a null character is no part of a command" in people.error(text).splitlines()[-1]
