"""Live names for completion: buckets, keys, fields, locks, fetched in the background.

Rules:

1. `ask` never waits: it gives what is known and has the rest fetched. When an answer comes, `on_names` is called,
   from the thread that fetches.
2. One thread fetches, on a connection of its own, the newest question first; questions that were overtaken by so
   many newer ones are dropped. An error is an empty answer, remembered for a while like any other.
3. Answers are bounded in number and size. A longer prefix of keys is answered from a shorter one's answer if that
   was whole.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import dagbox
from dagbox.notation.datalog import write_term
from dagbox.notation.json import write_cell
from dagbox.notation.relations import Source
from dagbox.text.durations import format_ms

KEYS = 50
"""The most keys that are fetched for a prefix."""
FACTS = 500
SAMPLE = 5
"""The records of a bucket that are read for its fields."""
LOOK_S = 0.02
"""The time for reading records to describe their keys, in seconds; after it keys stand alone."""
KEPT = 512
WAITING = 8
FRESH_S = 5.0
TIMEOUT_S = 3.0
PULSE_S = 2.0
"""The interval of pings to the node while the prompt waits, in seconds."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name and what to say about it.

    Args:
        ref: for a field: whether it holds refs, so that a relation can follow it.
    """

    text: str
    meta: str = ""
    ref: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The names for a question.

    Args:
        more: there are more names than these.
        at: when it came, in monotonic seconds.
    """

    names: tuple[Name, ...] = ()
    more: bool = False
    at: float = 0.0


NOTHING = Answer()
Question = tuple[Any, ...]


class LiveNames:
    """The cache of names and the thread that fills it.

    Args:
        connect: opens the connection the thread works on; the database that is given to it if that is embedded.
        shared: whether `connect` gives a database that others use too and that must not be closed here.
        clock: monotonic seconds.
    """

    def __init__(
        self, connect: Callable[[], Any], *, shared: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.on_names: Callable[[], None] = lambda: None
        self.on_reachable: Callable[[bool], None] = lambda reachable: None
        self.reachable = True
        self._connect = connect
        self._shared = shared
        self._clock = clock
        self._answers: OrderedDict[Question, Answer] = OrderedDict()
        self._waiting: OrderedDict[Question, None] = OrderedDict()
        self._fetching: Question | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._db: Any = None

    # -- asked by the one who types

    def ask(self, *question: Any) -> Answer:
        """Return what is known, at once; the answer is fetched if it is not known or not fresh."""
        with self._changed:
            answer = self._answers.get(question)
            if answer is not None:
                self._answers.move_to_end(question)
                if self._clock() - answer.at < FRESH_S:
                    return answer
            self._want(question)
        return answer or NOTHING

    def keys(self, bucket: str, prefix: str) -> Answer:
        """Keys of a bucket that begin with a prefix; from the answer for a shorter prefix if that was whole."""
        best: Answer | None = None
        with self._changed:
            for length in range(len(prefix), -1, -1):
                known = self._answers.get(("keys", bucket, prefix[:length]))
                if known is None:
                    continue
                names = tuple(name for name in known.names if name.text.startswith(prefix))
                if not known.more and self._clock() - known.at < FRESH_S:
                    return Answer(names, False, known.at)
                if best is None or len(names) > len(best.names):
                    best = Answer(names, known.more, known.at)
        answer = self.ask("keys", bucket, prefix)
        return answer if answer is not NOTHING or best is None else best

    @property
    def busy(self) -> bool:
        """True if something is being fetched or waits for it."""
        with self._changed:
            return bool(self._waiting) or self._fetching is not None

    def forget(self) -> None:
        """Nothing is known any more; after a command that may have changed names."""
        with self._changed:
            self._answers = OrderedDict(
                (question, Answer(old.names, old.more)) for question, old in self._answers.items()
            )

    def close(self) -> None:
        """End the thread and close its connection."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _want(self, question: Question) -> None:
        if question == self._fetching or self._ending:
            return
        self._waiting[question] = None
        self._waiting.move_to_end(question)
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)
        self.start()
        self._changed.notify_all()

    def start(self) -> None:
        """Begin to watch the node, and to fetch what is asked."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dagbox-shell-names", daemon=True)
            self._thread.start()

    # -- the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and not self._ending:
                    self._changed.wait(PULSE_S)
                if self._ending:
                    break
                self._fetching = self._waiting.popitem()[0] if self._waiting else None
                question = self._fetching
            if question is None:
                self._pulse()
                continue
            answer = self._fetch(question)
            with self._changed:
                self._fetching = None
                self._answers[question] = answer
                while len(self._answers) > KEPT:
                    self._answers.popitem(last=False)
            self.on_names()
        self._disconnect()

    def _fetch(self, question: Question) -> Answer:
        try:
            names, more = FETCHERS[question[0]](self._database(), *question[1:])
        except dagbox.DagBoxError as error:
            if isinstance(error, dagbox.DeadlineExceeded | dagbox.CannotConnect):
                self._reached(False)
            return Answer(at=self._clock())
        self._reached(True)
        return Answer(tuple(names), more, self._clock())

    def _pulse(self) -> None:
        """See whether the node answers."""
        if self._shared:
            return
        try:
            self._database().services()
        except dagbox.DagBoxError:
            self._reached(False)
        else:
            self._reached(True)

    def _reached(self, reachable: bool) -> None:
        if not reachable:
            self._disconnect()
        if reachable != self.reachable:
            self.reachable = reachable
            self.on_reachable(reachable)
            self.on_names()

    def _database(self) -> Any:
        if self._db is None:
            self._db = self._connect()
            if not self._shared:
                self._db.timeout = TIMEOUT_S
        return self._db

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None and not self._shared:
            db.close()


# -- a fetcher for each kind of question: (database, ...) -> (names, whether there are more)

Fetched = tuple[list[Name], bool]


def _buckets(db: Any) -> Fetched:
    return [Name(name, f"{count:,} records") for name, count in sorted(db.buckets().items())], False


def _keys(db: Any, bucket: str, prefix: str) -> Fetched:
    keys = [record.key for record in db.scan(bucket, prefix=prefix, limit=KEYS + 1, keys_only=True)]
    shown = keys[:KEYS]
    said = {record.key: describe_data(record.data) for record in _look_at(db, bucket, shown)}
    return [Name(key, said.get(key, "")) for key in shown], len(keys) > KEYS


def _look_at(db: Any, bucket: str, keys: list[str]) -> Iterator[Any]:
    """The records of the first keys, one and then more at a time, until `LOOK_S` is over: records may be large."""
    begun, at, count = time.monotonic(), 0, 1
    while at < len(keys) and time.monotonic() - begun < LOOK_S:
        records = db.get_many([(bucket, key) for key in keys[at : at + count]], skip=lambda error: None)
        yield from (record for record in records if record is not None)
        at, count = at + count, count * 4


def describe_data(data: Any) -> str:
    """A few words of a record, to tell keys apart."""
    if isinstance(data, Mapping):
        for name in ("name", "title", "label", "subject", "email"):
            if isinstance(data.get(name), str):
                return str(data[name])[:40]
        return ", ".join(write_cell(name) for name in islice(data, 4))[:40]
    return str(data)[:40]


def _fields(db: Any, source: Source) -> Fetched:
    found: dict[str, Name] = {}
    for data in islice(_sample(db, source), SAMPLE):
        if isinstance(data, Mapping):
            for name in _fields_of(data):
                if name.text not in found or name.ref:
                    found[name.text] = name
    return list(found.values()), False


def _sample(db: Any, source: Source) -> Iterator[Any]:
    """The data of some records of a source."""
    if not source:
        return
    if source[0] == "record":
        for record in db.get_many([source[1:3]], skip=lambda error: None):
            if record is not None:
                yield record.data
                return
        yield from _sample(db, ("bucket", source[1]))
    elif source[0] == "bucket":
        keys = [record.key for record in db.scan(source[1], limit=SAMPLE, keys_only=True)]
        yield from (record.data for record in _look_at(db, source[1], keys))
    else:
        yield from _sample_via(db, source)


def _sample_via(db: Any, source: Source) -> Iterator[Any]:
    """The data of the records at the end of a chain of paths."""
    paths: list[str] = []
    while source and source[0] == "via":
        paths.append(source[2])
        source = source[1]
    if not source:
        return
    root = (source[1], source[2]) if source[0] == "record" else None
    if root is None:
        first = next(iter(db.scan(source[1], limit=1, keys_only=True)), None)
        if first is None:
            return
        root = (first.bucket, first.key)
    relations: dict[str, Any] = {}
    for path in paths:
        relations = {"_": {"path": path, "limit": SAMPLE, **({"relations": relations} if relations else {})}}
    nodes = [db.fetch(*root, relations=relations, skip=_ignore)]
    for _ in paths:
        nodes = [child for node in nodes for child in node.relations.get("_", ())]
    yield from (node.data for node in nodes if node.found)


def _ignore(error: dagbox.UnreadableRecord) -> None:
    """Pass over a record that cannot be read, which has no names of fields."""


def _fields_of(data: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> Iterator[Name]:
    for key, value in islice(data.items(), 200):
        if not isinstance(key, str):
            continue
        if isinstance(value, dagbox.Ref):
            yield Name(prefix + key, f"ref to {value.bucket}", True)
        elif isinstance(value, list) and value and isinstance(value[0], dagbox.Ref):
            yield Name(prefix + key, f"refs to {value[0].bucket}", True)
        else:
            yield Name(prefix + key, type(value).__name__)
            if isinstance(value, Mapping) and depth < 2:
                yield from _fields_of(value, f"{prefix}{key}.", depth + 1)


def _locks(db: Any) -> Fetched:
    infos = db.locks()
    return [Name(info.key, f"held by {info.owner}") for info in infos[:200]], len(infos) > 200


_HEAD = re.compile(r"\s*([^\W\d][\w]*)\s*\(")


def _predicates(db: Any) -> Fetched:
    names: dict[str, str] = {}
    for rule in db.rules():
        match = _HEAD.match(rule.text)
        if match:
            names[match.group(1)] = "by rules"
    facts = db.facts(limit=FACTS)
    for fact in facts:
        names.setdefault(fact.predicate, f"facts of {len(fact.args)} arguments")
    return [Name(name, meta) for name, meta in sorted(names.items())], len(facts) >= FACTS


def _arguments(db: Any, predicate: str, position: int) -> Fetched:
    facts = db.facts(predicate, limit=FACTS)
    values = {write_term(fact.args[position]) for fact in facts if position < len(fact.args)}
    return [Name(value) for value in sorted(values)][:KEYS], len(values) > KEYS


def _rules(db: Any) -> Fetched:
    return [Name(rule.id, " ".join(rule.text.split())[:60]) for rule in db.rules()], False


def _queries(db: Any) -> Fetched:
    return [Name(str(each["id"]), str(each.get("goal", ""))[:60]) for each in db.queries() if "id" in each], False


def _services(db: Any) -> Fetched:
    return [Name(service["name"], "service") for service in db.services()], False


def _workers(db: Any) -> Fetched:
    return [Name(worker["name"], str(worker.get("service", ""))) for worker in db.workers() if "name" in worker], False


def _traces(db: Any) -> Fetched:
    found = db.traces(limit=KEYS)
    names = [Name(each["id"], f"{each.get('service')} {format_ms(each.get('took_ms') or 0)}") for each in found]
    return names, False


FETCHERS: dict[str, Callable[..., Fetched]] = {
    "buckets": _buckets,
    "keys": _keys,
    "fields": _fields,
    "locks": _locks,
    "predicates": _predicates,
    "arguments": _arguments,
    "rules": _rules,
    "queries": _queries,
    "services": _services,
    "workers": _workers,
    "traces": _traces,
}
