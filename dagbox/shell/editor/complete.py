"""What could stand at the cursor: from what the parser expected there to proposals.

Nothing here waits: live names come from the cache of `live.py`, which fetches what it does not know yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dagbox.notation.scanner import Expected, quote
from dagbox.shell.editor.live_names import Answer, Live, Name
from dagbox.shell.grammar.catalog import CATALOG
from dagbox.shell.grammar.parse import ParsedCommand, split_ref
from dagbox.shell.handlers.topics import TOPICS
from dagbox.shell.settings import SETTINGS

MOST = 60
"""How many proposals are made at most."""
FILES = 500


@dataclass(frozen=True, slots=True)
class Proposal:
    """A text that could stand in the place of the word at the cursor.

    Args:
        text: what is put there.
        start: where the word at the cursor begins.
        meta: what to say about it.
        shown: how it is shown, if not as its text.
    """

    text: str
    start: int
    meta: str = ""
    shown: str = ""


class Proposer:
    """Makes proposals for one shell.

    Args:
        live: the names of the store.
        bucket: the bucket that `use` set by now.
        held: the keys of held locks by now.
    """

    def __init__(self, live: Live, bucket: Callable[[], str | None], held: Callable[[], Iterable[str]] = tuple) -> None:
        self.live = live
        self.bucket = bucket
        self.held = held
        self.more = False

    def propose(self, parsed: ParsedCommand) -> list[Proposal]:
        """The proposals at the end of a text, best first; `more` says whether the store has more names."""
        self.more = False
        seen: set[str] = set()
        out: list[Proposal] = []
        for expected in sorted(parsed.expected, key=lambda each: each.kind == "option"):
            provider = getattr(self, "_" + expected.kind.replace("-", "_"), None)
            if provider is None:
                continue
            for proposal in provider(expected):
                if proposal.text in seen:
                    continue
                seen.add(proposal.text)
                out.append(proposal)
                if len(out) >= MOST:
                    self.more = True
                    return out
        return out

    # -- a method for each kind of expectation

    def _command(self, expected: Expected) -> Iterator[Proposal]:
        rows = [(row.name, row.summary) for row in CATALOG.commands]
        return _matching(expected, rows)

    def _option(self, expected: Expected) -> Iterator[Proposal]:
        command, used = expected.detail
        rows = [(f"--{option.name}", option.help) for option in command.all_options if option.argument not in used]
        return _matching(expected, rows)

    def _ref(self, expected: Expected) -> Iterator[Proposal]:
        before, slash, _ = expected.prefix.partition("/")
        current = self.bucket()
        if slash:
            bucket, key = split_ref(expected.prefix, current)
            lead = f"{before}/"
            yield from self._keys(expected, bucket, key, lead)
            return
        if current is not None:
            yield from self._keys(expected, current, expected.prefix, "")
        for name in self._names("buckets").names:
            if name.text.startswith(expected.prefix):
                yield Proposal(quote(f"{name.text}/"), expected.start, name.meta)

    def _keys(self, expected: Expected, bucket: str, prefix: str, lead: str) -> Iterator[Proposal]:
        answer = self.live.keys(bucket, prefix)
        self.more = self.more or answer.more
        for name in answer.names:
            if name.text.startswith(prefix):
                text = lead + name.text if lead or "/" not in name.text else f"/{name.text}"
                yield Proposal(quote(text), expected.start, name.meta)

    def _bucket(self, expected: Expected) -> Iterator[Proposal]:
        return _matching(expected, _pairs(self._names("buckets").names))

    def _lock(self, expected: Expected) -> Iterator[Proposal]:
        yield from _matching(expected, [(key, "held by this shell") for key in self.held()])
        yield from _matching(expected, _pairs(self._names("locks").names))
        if expected.prefix:
            yield from self._ref(expected)

    def _predicate(self, expected: Expected) -> Iterator[Proposal]:
        names = self._names("predicates").names
        return _matching(expected, [(f"{name.text}(", name.meta) for name in names], as_is=True)

    def _predicate_name(self, expected: Expected) -> Iterator[Proposal]:
        return _matching(expected, _pairs(self._names("predicates").names))

    def _argument(self, expected: Expected) -> Iterator[Proposal]:
        if expected.detail is None:
            return iter(())
        return _matching(expected, _pairs(self._names("arguments", *expected.detail).names))

    def _rule_id(self, expected: Expected) -> Iterator[Proposal]:
        return _matching(expected, _pairs(self._names("rules").names))

    def _query_id(self, expected: Expected) -> Iterator[Proposal]:
        return _matching(expected, _pairs(self._names("queries").names))

    def _service(self, expected: Expected) -> Iterator[Proposal]:
        return _matching(expected, _pairs(self._names("services").names))

    def _worker(self, expected: Expected) -> Iterator[Proposal]:
        return _matching(expected, _pairs(self._names("workers").names))

    def _trace(self, expected: Expected) -> Iterator[Proposal]:
        return _matching(expected, _pairs(self._names("traces").names))

    def _path(self, expected: Expected) -> Iterator[Proposal]:
        fields = sorted(self._fields(expected.detail), key=lambda name: not name.ref)
        return _matching(expected, _pairs(fields))

    def _relation(self, expected: Expected) -> Iterator[Proposal]:
        source, used = expected.detail
        for name in self._fields(source):
            if not name.ref or name.text in used or not name.text.startswith(expected.prefix):
                continue
            relation = name.text.rpartition(".")[2]
            yield Proposal(f"{quote(relation)}: via {quote(name.text)}", expected.start, name.meta)

    def _relation_value(self, expected: Expected) -> Iterator[Proposal]:
        words = (("via ", "follow the refs at a path"), ("where ", "the keys that a query finds"))
        yield from _matching(expected, words, as_is=True)
        yield from self._ref(expected)

    def _json_key(self, expected: Expected) -> Iterator[Proposal]:
        target, depth, used = expected.detail
        if depth or target is None:
            return
        source = ("record", target.bucket, target.key) if target.key else ("bucket", target.bucket)
        for name in self._fields(source):
            if "." in name.text or name.text in used or not name.text.startswith(expected.prefix):
                continue
            yield Proposal(f'"{name.text}": ', expected.start, name.meta, name.text)

    def _keyword(self, expected: Expected) -> Iterator[Proposal]:
        return _matching(expected, [(word, "") for word in expected.detail])

    def _literal(self, expected: Expected) -> Iterator[Proposal]:
        text, meta = expected.detail
        yield Proposal(text, expected.start, meta)

    def _setting(self, expected: Expected) -> Iterator[Proposal]:
        return _matching(expected, [(each.name, each.help) for each in SETTINGS.values()])

    def _setting_value(self, expected: Expected) -> Iterator[Proposal]:
        setting = SETTINGS.get(expected.detail or "")
        return _matching(expected, [(choice, "") for choice in setting.choices] if setting else [])

    def _topic(self, expected: Expected) -> Iterator[Proposal]:
        rows = [(name, topic.summary) for name, topic in TOPICS.items()]
        return _matching(expected, [*rows, *((row.name, row.summary) for row in CATALOG.commands)])

    def _file(self, expected: Expected) -> Iterator[Proposal]:
        start = expected.prefix.rpartition("/")[2]
        lead = expected.prefix[: len(expected.prefix) - len(start)]
        for name, is_folder in _files(lead or ".", start):
            yield Proposal(
                quote(lead + name + ("/" if is_folder else "")), expected.start, "folder" if is_folder else ""
            )

    # -- names of the store

    def _names(self, *question: Any) -> Answer:
        answer = self.live.ask(*question)
        self.more = self.more or answer.more
        return answer

    def _fields(self, source: Any) -> tuple[Name, ...]:
        return self._names("fields", source).names if source else ()


def _pairs(names: Iterable[Name]) -> list[tuple[str, str]]:
    return [(name.text, name.meta) for name in names]


def _matching(expected: Expected, rows: Iterable[tuple[str, str]], *, as_is: bool = False) -> Iterator[Proposal]:
    """Those that begin with what is there already, in any case of letters."""
    prefix = expected.prefix.lower()
    for text, meta in rows:
        if text.lower().startswith(prefix):
            yield Proposal(text if as_is else quote_word(text), expected.start, meta)


def quote_word(text: str) -> str:
    """As `quote`, but an option stays as it is."""
    return text if text.startswith("--") else quote(text)


def _files(folder: str, start: str) -> list[tuple[str, bool]]:
    """Names in a folder that begin with a text, and whether each is a folder; hidden ones only if asked for."""
    try:
        with os.scandir(Path(folder).expanduser()) as entries:
            found = [
                (entry.name, entry.is_dir())
                for entry in islice(entries, FILES)
                if entry.name.startswith(start) and (start or not entry.name.startswith("."))
            ]
    except OSError:
        return []
    return sorted(found)
