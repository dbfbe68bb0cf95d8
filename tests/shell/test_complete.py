"""Input -> proposals and input -> hint, as tables; and that nothing waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import dagbox
from dagbox.shell.editor.complete import MAX_PROPOSALS, Proposer
from dagbox.shell.editor.hints import NOTHING_TYPED, hint, plain_hint
from dagbox.shell.editor.live_names import Answer, LiveNames, Name
from dagbox.shell.grammar.parse import parse


class Canned(LiveNames):
    """Live names that are all known from the beginning."""

    KNOWN: dict[tuple[Any, ...], list[Name]] = {
        ("buckets",): [
            Name("post", "2 records"),
            Name("team", "1 records"),
            Name("user", "3 records"),
            Name("odd one"),
        ],
        ("keys", "user", ""): [Name("ada"), Name("bob"), Name("two words")],
        ("keys", "post", ""): [Name("p1"), Name("p2"), Name("p/3")],
        ("fields", ("record", "user", "ada")): [
            Name("name", "str"),
            Name("team", "ref to team", True),
            Name("meta.boss", "ref to user", True),
        ],
        ("fields", ("via", ("record", "user", "ada"), "team")): [
            Name("lead", "ref to user", True),
            Name("size", "int"),
        ],
        ("fields", ("bucket", "user")): [Name("name", "str"), Name("team", "ref to team", True)],
        ("fields", ("record", "post", "p2")): [Name("author", "ref to user", True)],
        ("locks",): [Name("user/ada", "held by vm:1"), Name("job", "held by vm:2")],
        ("predicates",): [Name("follows", "facts of 2 arguments"), Name("reaches", "by rules")],
        ("arguments", "follows", 1): [Name("ada"), Name("eve")],
        ("rules",): [Name("r1", "reaches(X, Y) :- ...")],
        ("services",): [Name("reader"), Name("thumbnail")],
        ("workers",): [Name("reader-1", "reader")],
        ("traces",): [Name("b9eb-1", "reader 0.5 ms")],
    }

    def __init__(self) -> None:
        super().__init__(self._never)

    @staticmethod
    def _never() -> Any:
        raise AssertionError("a completer must not connect")

    def ask(self, *question: Any) -> Answer:
        return Answer(tuple(self.KNOWN.get(question, ())))

    def keys(self, bucket: str, prefix: str) -> Answer:
        names = [name for name in self.KNOWN.get(("keys", bucket, ""), ()) if name.text.startswith(prefix)]
        return Answer(tuple(names))


COMPLETIONS: list[tuple[str, list[str]]] = [
    # what is typed, what is proposed first
    ("ge", ["get"]),
    ("GE", ["get"]),
    ("lo", ["lock", "locks"]),
    ("dr", ["drop-rule", "drain", "drop"]),
    ("get ", ["post/", "team/", "user/", '"odd one/"', "--format"]),
    ("get u", ["user/"]),
    ("get user/", ["user/ada", "user/bob", '"user/two words"']),
    ("get user/b", ["user/bob"]),
    ('get "user/two', ['"user/two words"']),
    ("get user/ada po", ["post/"]),
    ("get user/ada ", ["post/", "team/", "user/", '"odd one/"', "{", "--format"]),
    ("get user/zzz", []),
    ("traces --parent ", ["b9eb-1"]),
    ("get post/p/", ["post/p/3"]),
    ("get user/ada --", ["--format"]),
    ("get user/ada --format ", ["tree", "table", "json", "raw"]),
    ("get user/ada --format=t", ["tree", "table"]),
    ("scan user/a", ["user/ada"]),
    ("del-prefix user/a", ["user/ada"]),
    ("scan user --fields ", ["team", "name"]),
    ("scan user --fields name,t", ["team"]),
    ("get user/ada { ", ["team: via team", "boss: via meta.boss"]),
    ("get user/ada { te", ["team: via team"]),
    ("get user/ada { team: via team  ", ["in", "limit", "boss: via meta.boss"]),
    ("get user/ada { x: ", ["via ", "where ", "post/", "team/", "user/", '"odd one/"']),
    ("get user/ada { x: v", ["via "]),
    ("get user/ada { x: us", ["user/"]),
    ("get user/ada { x: post/", ["post/p1", "post/p2", "post/p/3"]),
    ("get user/ada { x: post/p1, post/p2 { ", ["author: via author"]),
    ("get user/ada { x: via ", ["team", "meta.boss", "name"]),
    ("get user/ada { x: via te", ["team"]),
    ("get user/ada { x: via team { y: via ", ["lead", "size"]),
    ("get user/ada { x: via team ", ["in", "limit", "team: via team", "boss: via meta.boss"]),
    ("get user/ada { x: via team in ", ["post", "team", "user", '"odd one"']),
    ("get user/ada { x: where f", ["follows("]),
    ("get user/ada { x: where follows(X, $key) ", ["in", "limit", "var", "team: via team", "boss: via meta.boss"]),
    ("get user/ada { x: where follows(X, $key) in user { ", ["team: via team"]),
    ("put user/ada {", ['"name": ', '"team": ']),
    ('put user/ada {"na', ['"name": ']),
    ('put user/ada {"name": "x", "', ['"team": ']),
    ('put user/ada {"name": t', ["true"]),
    ('put user/ada {"t": @te', ["team/"]),
    ("put user/ada 1 --", ["--new", "--if-version", "--ttl", "--fence", "--format"]),
    ("put user/ada 1 --new --", ["--if-version", "--ttl", "--fence", "--format"]),
    ("put user/ada @", ["./", "post/", "team/", "user/", '"odd one/"']),
    ("put user/ada @post/p", ["post/p1", "post/p2", "post/p/3"]),
    ("put user/ada @./no-such-folder/", []),
    ("call thumbnail @te", ["team/"]),
    ("del user/a", ["user/ada"]),
    ("lock ", ["held/one", "user/ada", "job", "--ttl", "--wait", "--shared", "--plain", "--format"]),
    ("lock user/b", ["user/bob"]),
    ("unlock h", ["held/one"]),
    ("assert f", ["follows("]),
    ("assert follows(bob, ", ["ada", "eve"]),
    ("assert follows(bob, e", ["eve"]),
    ("query follows(X, ", ["ada", "eve"]),
    ("query follows(X, E", []),
    ("get user/ada { x: where follows($key, e", ["eve"]),
    ("facts ", ["follows", "reaches", "--limit", "--format"]),
    ("query r", ["reaches("]),
    ("query follows(X, Y), r", ["reaches("]),
    ("query follows(X, Y) ", ["fetch", "--limit", "--order", "--timeout", "--format"]),
    ("query follows(X, Y) fetch X ", ["in", "--limit", "--order", "--timeout", "--format"]),
    ("query follows(X, Y) fetch X in us", ["user"]),
    ("query follows(X, Y) fetch X in user { t", ["team: via team"]),
    ("drop-rule ", ["r1", "--yes", "--format"]),
    ("call t", ["thumbnail"]),
    ("drain ", ["reader-1", "--yes", "--format"]),
    ("trace b", ["b9eb-1"]),
    ("set ", ["format", "pager", "timing", "timeout", "editing", "completion", "mouse", "confirm", "--format"]),
    ("set editing ", ["emacs", "vi", "--format"]),
    ("use t", ["team"]),
    ("help rel", ["relations"]),
    ("watch lo", ["lock", "locks"]),
    ("watch --every 1s get user/b", ["user/bob"]),
    ("time --", ["--repeat", "--format"]),
    ("# ge", []),
    ("get user/ada | j", []),
]


@pytest.fixture
def proposer() -> Proposer:
    return Proposer(Canned(), lambda: None, lambda: ["held/one"])


@pytest.mark.parametrize(("text", "expected"), COMPLETIONS, ids=[text for text, _ in COMPLETIONS])
def test_completions(proposer: Proposer, text: str, expected: list[str]) -> None:
    assert [proposal.text for proposal in proposer.propose(parse(text))] == expected


def test_a_proposal_takes_the_place_of_the_word(proposer: Proposer) -> None:
    text = 'get "user/two'
    (proposal,) = proposer.propose(parse(text))
    assert text[: proposal.start] + proposal.text == 'get "user/two words"'


def test_every_proposal_is_understood(proposer: Proposer) -> None:
    for text, _ in COMPLETIONS:
        for proposal in proposer.propose(parse(text)):
            completed = text[: proposal.start] + proposal.text
            problem = parse(completed).problem
            assert problem is None or parse(completed).unfinished or problem.end >= len(completed), completed


def test_a_proposed_field_is_a_name_of_json() -> None:
    live, names = Canned(), ['say "hi"', "a\nb"]
    live.KNOWN = {("fields", ("bucket", "user")): [Name(name) for name in names]}
    proposed = [each.text for each in Proposer(live, lambda: None).propose(parse("put user/ {"))]
    assert [parse(f"put user/ {{{text}1}}").values["value"] for text in proposed] == [{name: 1} for name in names]


def test_keys_of_the_bucket_in_use_come_first() -> None:
    proposer = Proposer(Canned(), lambda: "post")
    found = [proposal.text for proposal in proposer.propose(parse("get ", "post"))]
    assert found[:5] == ["p1", "p2", "/p/3", "post/", "team/"]


def test_proposals_are_bounded() -> None:
    live = Canned()
    live.KNOWN = {("buckets",): [Name(f"b{number:04}") for number in range(1000)]}
    proposer = Proposer(live, lambda: None)
    assert len(proposer.propose(parse("get "))) == MAX_PROPOSALS
    assert proposer.more


HINTS: list[tuple[str, str]] = [
    ("", NOTHING_TYPED),
    ("ge", "no command ge: did you mean get?"),
    ("get", "*get* BUCKET/KEY... [{ RELATIONS }]   show records, with the records they lead to"),
    ("get ", "get *BUCKET/KEY...* [{ RELATIONS }]   show records, with the records they lead to"),
    ("get us", "get *BUCKET/KEY...* [{ RELATIONS }]   show records, with the records they lead to"),
    (
        "get user/ada { x: ",
        "*NAME: BUCKET/KEY, ... | via PATH | where QUERY [in BUCKET] [limit N] [{ ... }]*",
    ),
    ("get user/ada { x: via y }", "get BUCKET/KEY... *[{ RELATIONS }]*   show records, with the records they lead to"),
    (
        "put u/a ",
        "put BUCKET/[KEY] *[JSON|@./FILE]* [--new] [--if-version N] [--ttl TIME] [--fence KEY]   write a record",
    ),
    (
        "put u/a 1 --ttl ",
        "put BUCKET/[KEY] [JSON|@./FILE] [--new] [--if-version N] *[--ttl TIME]* [--fence KEY]   write a record",
    ),
    ("put u/a {a", 'a name in double quotes expected, such as "name"'),
    ("get user/ada } x", "'}' cannot stand here: put the text in quotes"),
    ("nonsense now", "no command nonsense: `help` lists them"),
    ("watch --every 2s lo", "watch *COMMAND* [--every TIME] [--count N]   run a command again and again until Ctrl-C"),
    ("watch locks ", "locks *[PREFIX]*   list who holds which lock, and for how long"),
    ("assert likes(", "*PREDICATE(ARGUMENT, ...), ...   a name, a text in quotes, or a number*"),
    ("# note", NOTHING_TYPED),
]


@pytest.mark.parametrize(("text", "expected"), HINTS, ids=[text for text, _ in HINTS])
def test_hints(text: str, expected: str) -> None:
    assert plain_hint(parse(text)) == expected


def test_a_hint_leaves_out_the_summary_where_there_is_no_room() -> None:
    assert "".join(text for _, text in hint(parse("get "), 60)) == "get BUCKET/KEY... [{ RELATIONS }]"


@pytest.fixture
def live_of() -> Any:
    made: list[LiveNames] = []

    def make(db: Any, **more: Any) -> LiveNames:
        made.append(LiveNames(lambda: db, shared=True, **more))
        return made[-1]

    yield make
    for live in made:
        live.close()


class Stalled:
    """A database that answers only when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.prefixes: list[str] = []

    def scan(self, bucket: str, *, prefix: str, limit: int, keys_only: bool) -> list[dagbox.Record]:
        self.prefixes.append(prefix)
        self.asked.release()
        assert self.go.acquire(timeout=10)
        return [dagbox.Record(bucket, f"{prefix}{number:02}", 1, None) for number in range(limit)]

    def get_many(self, refs: list[tuple[str, str]], *, skip: object) -> list[None]:
        return [None] * len(refs)


def test_asking_never_waits_and_overtaken_questions_are_dropped(live_of: Callable[..., LiveNames]) -> None:
    db = Stalled()
    live = live_of(db)
    assert live.keys("user", "").names == ()
    assert db.asked.acquire(timeout=10)
    for number in range(100):
        assert live.keys("user", f"p{number}").names == ()
    answered = threading.Semaphore(0)
    live.on_names = answered.release
    for _ in range(9):
        db.go.release()
    for _ in range(9):
        assert answered.acquire(timeout=10)
    assert db.prefixes == ["", *(f"p{number}" for number in range(99, 91, -1))]
    assert not live.busy


def test_an_answer_is_kept_and_serves_longer_prefixes(live_of: Callable[..., LiveNames]) -> None:
    asked: list[str] = []

    class Few:
        def scan(self, bucket: str, *, prefix: str, limit: int, keys_only: bool) -> list[dagbox.Record]:
            asked.append(prefix)
            keys = [key for key in ("ada", "adam", "bob") if key.startswith(prefix)]
            return [dagbox.Record(bucket, key, 1, None) for key in keys[:limit]]

        def get_many(self, refs: list[tuple[str, str]], *, skip: object) -> list[dagbox.Record]:
            return [dagbox.Record(bucket, key, 1, {"name": key.title()}) for bucket, key in refs]

    now = [100.0]
    live = live_of(Few(), clock=lambda: now[0])
    came = threading.Event()
    live.on_names = came.set
    live.keys("user", "a")
    assert came.wait(10)
    assert [name.text for name in live.keys("user", "a").names] == ["ada", "adam"]
    assert [name.text for name in live.keys("user", "adam").names] == ["adam"]
    assert asked == ["a"]
    came.clear()
    now[0] += 60
    assert [name.text for name in live.keys("user", "a").names] == ["ada", "adam"]
    assert came.wait(10)
    assert asked == ["a", "a"]


def test_large_records_are_not_read_to_complete_their_keys(
    live_of: Callable[..., LiveNames], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_of: list[str] = []
    now = [0.0]
    monkeypatch.setattr("dagbox.shell.editor.live_names.time.monotonic", lambda: now[0])

    class Large:
        def scan(self, bucket: str, *, prefix: str = "", limit: int, keys_only: bool = False) -> list[dagbox.Record]:
            assert keys_only
            return [dagbox.Record(bucket, f"k{number}", 1, None) for number in range(limit)]

        def get_many(self, refs: list[tuple[str, str]], *, skip: object) -> list[dagbox.Record]:
            now[0] += 0.1
            read_of.extend(key for _, key in refs)
            return [dagbox.Record(bucket, key, 1, {"name": "large"}) for bucket, key in refs]

    live = live_of(Large(), clock=lambda: 1.0)
    came = threading.Semaphore(0)
    live.on_names = came.release
    live.keys("film", "")
    assert came.acquire(timeout=10)
    answer = live.keys("film", "")
    assert [(name.text, name.meta) for name in answer.names[:2]] == [("k0", "large"), ("k1", "")]
    assert len(answer.names) == 50
    assert answer.more
    live.ask("fields", ("bucket", "film"))
    assert came.acquire(timeout=10)
    assert read_of == ["k0", "k0"]


def test_an_error_is_an_empty_answer_and_the_loss_of_the_node_is_told() -> None:
    class Broken:
        timeout = 0.0

        def buckets(self) -> dict[str, int]:
            raise dagbox.CannotConnect("ipc://x", "gone")

        def services(self) -> list[Any]:
            raise dagbox.CannotConnect("ipc://x", "gone")

        def close(self) -> None:
            closed.set()

    closed, told = threading.Event(), threading.Event()
    live = LiveNames(Broken)
    reached: list[bool] = []
    live.on_reachable = reached.append
    live.on_names = told.set
    try:
        assert live.ask("buckets").names == ()
        assert told.wait(10)
        assert closed.wait(10)
    finally:
        live.close()
    assert reached == [False]
    assert not live.reachable


def test_names_come_from_the_store(tmp_path: Any, live_of: Callable[..., LiveNames]) -> None:
    with dagbox.open(tmp_path / "data") as db:
        db.put("team", {"lead": dagbox.Ref("user", "ada")}, key="core")
        db.put("user", {"name": "Ada", "team": dagbox.Ref("team", "core"), "home": {"city": "London"}}, key="ada")
        live = live_of(db)
        came = threading.Semaphore(0)
        live.on_names = came.release

        def answer(*question: Any) -> dict[str, str]:
            if live.ask(*question).at == 0:
                assert came.acquire(timeout=10)
            return {name.text: name.meta for name in live.ask(*question).names}

        assert answer("buckets") == {"team": "1 records", "user": "1 records"}
        assert answer("keys", "user", "a") == {"ada": "Ada"}
        record = ("record", "user", "ada")
        assert answer("fields", record) == {"name": "str", "team": "ref to team", "home": "dict", "home.city": "str"}
        assert answer("fields", ("via", record, "team")) == {"lead": "ref to user"}
        assert answer("fields", ("via", ("via", record, "team"), "lead")) == answer("fields", ("bucket", "user"))
        assert answer("fields", ("record", "user", "new")) == answer("fields", ("bucket", "user"))
        assert answer("locks") == {}
        live.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("put u/a ", "put BUCKET/[KEY] *[JSON|@./FILE]* [--new] ..."),
        ("put u/a 1 --fence ", "put ... [--ttl TIME] *[--fence KEY]*"),
        ("query ", "query *QUERY [fetch X in BUCKET { RELATIONS }]* ..."),
    ],
)
def test_a_signature_that_does_not_fit_says_so_and_shows_the_place_one_is_at(text: str, shown: str) -> None:
    line = hint(parse(text), 44)
    assert "".join(f"*{part}*" if style == "hint.here" else part for style, part in line) == shown
