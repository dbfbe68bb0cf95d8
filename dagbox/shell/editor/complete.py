"""Completion: from what the parser expected at the cursor to proposals.

Nothing here waits: names of the store come from the cache in `live_names.py`, which fetches missing ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from dagbox.notation.scanner import Expect, Expectation, quote, split_ref
from dagbox.shell.editor.live_names import Answer, LiveNames, Name
from dagbox.shell.grammar.catalog import CATALOG
from dagbox.shell.grammar.parsed import ParsedCommand
from dagbox.shell.handlers.topics import TOPICS
from dagbox.shell.settings import SETTINGS
from dagbox.text.files import path_of

MAX_PROPOSALS = 60
MAX_FILES = 500
"""The most entries of a folder that are read."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A text that could take the place of the word at the cursor.

    Args:
        text: what is inserted.
        start: where the word at the cursor begins.
        meta: a short description.
        display: what the menu shows, if not the text.
    """

    text: str
    start: int
    meta: str = ""
    display: str = ""


class Proposer:
    """Makes proposals for one shell.

    Args:
        names: the names of the store.
        bucket: returns the bucket that `use` set.
        held: returns the keys of the held locks.

    Attributes:
        more: True if there were more names than the last proposals show.
    """

    def __init__(
        self, names: LiveNames, bucket: Callable[[], str | None], held: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self.names = names
        self.bucket = bucket
        self.held = held
        self.more = False

    def propose(self, parsed: ParsedCommand) -> list[Proposal]:
        """Return the proposals at the end of a text, best first."""
        self.more = False
        seen: set[str] = set()
        out: list[Proposal] = []
        for expected in sorted(parsed.expected, key=lambda each: each.kind is Expect.OPTION):
            for proposal in PROPOSERS[expected.kind](self, expected):
                if proposal.text in seen:
                    continue
                seen.add(proposal.text)
                out.append(proposal)
                if len(out) >= MAX_PROPOSALS:
                    self.more = True
                    return out
        return out

    # -- names of the store

    def ask(self, *question: Any) -> tuple[Name, ...]:
        """Return the names for a question as far as they are known."""
        return self._noted(self.names.ask(*question)).names

    def fields(self, source: Any) -> tuple[Name, ...]:
        """Return the fields of the records of a source."""
        return self.ask("fields", source) if source else ()

    def keys(self, expected: Expectation, bucket: str, prefix: str, lead: str) -> Iterator[Proposal]:
        """Yield the keys of a bucket that begin with a prefix, each with `lead` before it."""
        for name in self._noted(self.names.keys(bucket, prefix)).names:
            if name.text.startswith(prefix):
                text = lead + name.text if lead or "/" not in name.text else f"/{name.text}"
                yield Proposal(quote(text), expected.start, name.meta)

    def _noted(self, answer: Answer) -> Answer:
        self.more = self.more or answer.more
        return answer


# -- a source of proposals for each kind of expectation: (proposer, expectation) -> proposals

Source = Callable[[Proposer, Expectation], Iterable[Proposal]]


def _commands(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    return _matching(expected, [(command.name, command.summary) for command in CATALOG.commands])


def _options(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    command, used = expected.detail
    options = [(f"--{option.name}", option.help) for option in command.all_options if option.argument not in used]
    return _matching(expected, options)


def _refs(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    before, slash, _ = expected.prefix.partition("/")
    current = proposer.bucket()
    if slash:
        bucket, key = split_ref(expected.prefix, current)
        yield from proposer.keys(expected, bucket, key, f"{before}/")
        return
    if current is not None:
        yield from proposer.keys(expected, current, expected.prefix, "")
    for name in proposer.ask("buckets"):
        if name.text.startswith(expected.prefix):
            yield Proposal(quote(f"{name.text}/"), expected.start, name.meta)


def _locks(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    yield from _matching(expected, [(key, "held by this shell") for key in proposer.held()])
    yield from _matching(expected, _pairs(proposer.ask("locks")))
    if expected.prefix:
        yield from _refs(proposer, expected)


def _predicates(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    return _matching(expected, [(f"{name.text}(", name.meta) for name in proposer.ask("predicates")], as_is=True)


def _arguments(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    """Yield arguments of known facts, as Datalog writes them: text that looks like a number or variable is quoted.

    What begins like a variable may be one: only a text that begins in the same way is proposed in its place.
    """
    exact = expected.prefix[:1].isupper()
    prefix = expected.prefix if exact else expected.prefix.lower()
    for name in proposer.ask("arguments", *expected.detail):
        text = name.text.removeprefix('"')
        if (text if exact else text.lower()).startswith(prefix):
            yield Proposal(name.text, expected.start, name.meta)


def _paths(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    return _matching(expected, _pairs(sorted(proposer.fields(expected.detail), key=lambda name: not name.ref)))


def _relations(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    source, used = expected.detail
    for name in proposer.fields(source):
        if not name.ref or name.text in used or not name.text.startswith(expected.prefix):
            continue
        relation = name.text.rpartition(".")[2]
        yield Proposal(f"{quote(relation)}: via {quote(name.text)}", expected.start, name.meta)


def _relation_values(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    words = (("via ", "follow the refs at a path"), ("where ", "the keys that a query finds"))
    yield from _matching(expected, words, as_is=True)
    yield from _refs(proposer, expected)


def _json_keys(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    target, depth, used = expected.detail
    if depth or target is None:
        return
    source = ("record", target.bucket, target.key) if target.key else ("bucket", target.bucket)
    for name in proposer.fields(source):
        if "." in name.text or name.text in used or not name.text.startswith(expected.prefix):
            continue
        yield Proposal(f"{json.dumps(name.text, ensure_ascii=False)}: ", expected.start, name.meta, name.text)


def _keywords(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    return _matching(expected, [(word, "") for word in expected.detail])


def _literals(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    text, meta = expected.detail
    yield Proposal(text, expected.start, meta)


def _settings(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    return _matching(expected, [(setting.name, setting.help) for setting in SETTINGS.values()])


def _setting_values(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    setting = SETTINGS.get(expected.detail or "")
    return _matching(expected, [(choice, "") for choice in setting.choices] if setting else [])


def _topics(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    topics = [(name, topic.summary) for name, topic in TOPICS.items()]
    return _matching(expected, [*topics, *((command.name, command.summary) for command in CATALOG.commands)])


def _files(proposer: Proposer, expected: Expectation) -> Iterator[Proposal]:
    start = expected.prefix.rpartition("/")[2]
    lead = expected.prefix[: len(expected.prefix) - len(start)]
    for name, is_folder in _entries(lead or ".", start):
        yield Proposal(quote(lead + name + ("/" if is_folder else "")), expected.start, "folder" if is_folder else "")


def _names(question: str) -> Source:
    return lambda proposer, expected: _matching(expected, _pairs(proposer.ask(question)))


def _nothing(proposer: Proposer, expected: Expectation) -> Iterable[Proposal]:
    return ()


PROPOSERS: dict[Expect, Source] = {
    Expect.ARGUMENT: _arguments,
    Expect.BUCKET: _names("buckets"),
    Expect.COMMAND: _commands,
    Expect.DURATION: _nothing,
    Expect.FILE: _files,
    Expect.JSON_KEY: _json_keys,
    Expect.KEYWORD: _keywords,
    Expect.LITERAL: _literals,
    Expect.LOCK: _locks,
    Expect.NUMBER: _nothing,
    Expect.OPTION: _options,
    Expect.PATH: _paths,
    Expect.PREDICATE: _predicates,
    Expect.PREDICATE_NAME: _names("predicates"),
    Expect.QUERY_ID: _names("queries"),
    Expect.REF: _refs,
    Expect.RELATION: _relations,
    Expect.RELATION_VALUE: _relation_values,
    Expect.RULE_ID: _names("rules"),
    Expect.SERVICE: _names("services"),
    Expect.SETTING: _settings,
    Expect.SETTING_VALUE: _setting_values,
    Expect.TEXT: _nothing,
    Expect.TOPIC: _topics,
    Expect.TRACE: _names("traces"),
    Expect.WORKER: _names("workers"),
}


def _pairs(names: Iterable[Name]) -> list[tuple[str, str]]:
    return [(name.text, name.meta) for name in names]


def _matching(
    expected: Expectation, candidates: Iterable[tuple[str, str]], *, as_is: bool = False
) -> Iterator[Proposal]:
    """Yield the candidates that begin with what is typed, ignoring case."""
    prefix = expected.prefix.lower()
    for text, meta in candidates:
        if text.lower().startswith(prefix):
            yield Proposal(text if as_is else _quote_word(text), expected.start, meta)


def _quote_word(text: str) -> str:
    return text if text.startswith("--") else quote(text)


def _entries(folder: str, start: str) -> list[tuple[str, bool]]:
    """Return the names in a folder that begin with a text, each with True for a folder; hidden ones only if typed."""
    try:
        with os.scandir(path_of(folder)) as entries:
            found = [
                (entry.name, entry.is_dir())
                for entry in islice(entries, MAX_FILES)
                if entry.name.startswith(start) and (start or not entry.name.startswith("."))
            ]
    except OSError:
        return []
    return sorted(found)
