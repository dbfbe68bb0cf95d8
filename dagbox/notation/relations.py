"""Nested relations as people write them, and the wire form they stand for.

    { posts: post/p1, post/p2 { author: via author }
      drafts: (post/d1, post/d2) limit 1 { author: via author }
      team: via team
      fans: where follows(X, $key) in user limit 10 }

Names are separated by white space, commas or semicolons. A block belongs to the ref before it; one after brackets
belongs to each ref in them. The JSON of the wire form is accepted in the place of the whole block, or of one relation.
"""

from __future__ import annotations

import re
from typing import Any

from dagbox.notation.datalog import read_datalog
from dagbox.notation.json import read_json
from dagbox.notation.scanner import Scanner, Word

Source = tuple[Any, ...]
"""Where the record comes from whose fields can be completed: ("record", bucket, key), ("bucket", name),
("via", source, path), or () if nobody can know."""

_CLAUSES = ("in", "limit", "var")
_JSON_BLOCK = re.compile(r'\{\s*"(?:[^"\\]|\\.)*"\s*:\s*[\[{]')


def read_relations(scanner: Scanner, source: Source) -> dict[str, Any]:
    """Read a block of relations, from `{` to `}`, as the map that `fetch` takes.

    Args:
        source: the record or records that the relations start from, for completion.

    Raises:
        SyntaxProblem: not a relation; a name given twice.
        Unfinished: the block is not closed.
    """
    if _JSON_BLOCK.match(scanner.text, scanner.pos):
        return _read_json_block(scanner)
    opened = scanner.pos
    scanner.take("{")
    relations: dict[str, Any] = {}
    while True:
        while scanner.skip_space() or scanner.take(",") or scanner.take(";"):
            pass
        if scanner.take("}"):
            return relations
        if scanner.at_end:
            if not scanner.after_word:
                scanner.expect("relation", scanner.here(), (source, tuple(relations)))
            scanner.unfinished("} is missing", opened)
        name = _read_relation_name(scanner, source, relations)
        relations[name] = _read_relation(scanner, source, name)


def _read_json_block(scanner: Scanner) -> dict[str, Any]:
    start = scanner.pos
    value = read_json(scanner)
    if not isinstance(value, dict):
        scanner.wrong("relations are an object: name -> relation", start, scanner.pos)
    return value


def _read_relation_name(scanner: Scanner, source: Source, relations: dict[str, Any]) -> str:
    start = scanner.pos
    word: Word | None
    if scanner.peek() in ("'", '"'):
        word = scanner.read_word()
        if word is not None and word.value.endswith(":"):
            word = Word(word.value[:-1], word.start, word.end - 1)
            scanner.pos -= 1
    else:
        word = scanner.read_name()
    if word is None:
        scanner.wrong(f"the name of a relation expected, such as author, not {scanner.peek()!r}")
    scanner.expect("relation", word, (source, tuple(relations)))
    scanner.span(start, scanner.pos, "relation")
    if word.value in relations:
        scanner.wrong(f"the relation {word.value} is there twice: give one of them another name", start, word.end)
    scanner.need(":", f"after the relation's name {word.value}")
    return word.value


def _read_relation(scanner: Scanner, source: Source, name: str) -> Any:
    scanner.skip_space()
    start = scanner.pos
    char = scanner.peek()
    if char == "(":
        return _read_group(scanner)
    if char in ("[", "{"):
        return read_json(scanner)
    keyword = scanner.read_name() if char else None
    if keyword is not None and not scanner.peek().strip(" \t\n"):
        scanner.expect("relation-value", keyword, source)
        if keyword.value == "via":
            scanner.span(keyword.start, keyword.end, "keyword")
            return _read_via(scanner, source)
        if keyword.value == "where":
            scanner.span(keyword.start, keyword.end, "keyword")
            return _read_where(scanner)
    scanner.pos = start
    return _read_list(scanner, source, name)


def _read_list(scanner: Scanner, source: Source, name: str) -> list[dict[str, Any]]:
    """`post/p1, post/p2 { ... }`: objects with their own relations."""
    out: list[dict[str, Any]] = []
    while True:
        out.append(_read_object(scanner, source, name))
        mark = scanner.pos
        scanner.skip_space()
        if not scanner.take(","):
            scanner.pos = mark
            return out
        after = scanner.pos
        scanner.skip_space()
        following = scanner.read_name()
        if following is not None and scanner.peek() == ":":
            scanner.pos = mark
            scanner.spans.pop()
            return out
        scanner.pos = after


def _read_object(scanner: Scanner, source: Source, name: str) -> dict[str, Any]:
    bucket, key = _read_pair(scanner, f"{name}: takes bucket/key, via PATH, where QUERY or (bucket/key, ...)", source)
    target: dict[str, Any] = {"bucket": bucket, "key": key}
    mark = scanner.pos
    scanner.skip_space()
    if scanner.peek() == "{":
        target["relations"] = read_relations(scanner, ("record", bucket, key))
    else:
        scanner.pos = mark
    return target


def _read_pair(scanner: Scanner, usage: str, source: Source = ()) -> tuple[str, str]:
    scanner.skip_space()
    word = scanner.read_word("relation-value", source)
    if word is None:
        if scanner.at_end:
            scanner.unfinished(usage)
        scanner.wrong(usage)
    bucket, slash, key = word.value.partition("/")
    if not (slash and bucket and key):
        if word.end == len(scanner.text):
            scanner.unfinished(usage, word.start)
        scanner.wrong(usage, word.start, word.end)
    scanner.span(word.start, word.end, "ref")
    return bucket, key


def _read_group(scanner: Scanner) -> dict[str, Any]:
    """`(post/p1, post/p2) limit 1 { ... }`: one limit and one block for all."""
    scanner.take("(")
    keys: list[list[str]] = []
    while True:
        scanner.skip_space()
        if scanner.take(")"):
            break
        keys.append(list(_read_pair(scanner, "brackets take bucket/key, bucket/key, ...")))
        scanner.skip_space()
        if not scanner.take(",") and scanner.peek() != ")":
            scanner.need(")", "after the refs")
            break
    relation: dict[str, Any] = {"keys": keys}
    first = keys[0] if keys else None
    return _read_tail(scanner, relation, ("limit",), ("record", *first) if first else ())


def _read_via(scanner: Scanner, source: Source) -> dict[str, Any]:
    scanner.skip_space()
    word = scanner.read_word("path", source)
    if word is None:
        if scanner.at_end:
            scanner.unfinished("the path is missing, such as via author")
        scanner.wrong("a path expected after via, such as author or meta.author")
    scanner.span(word.start, word.end, "path")
    return _read_tail(scanner, {"path": word.value}, ("in", "limit"), ("via", source, word.value))


def _read_where(scanner: Scanner) -> dict[str, Any]:
    scanner.skip_space()
    start = scanner.pos
    text = read_datalog(scanner, stops=_CLAUSES, in_relation=True)
    if not text:
        if scanner.at_end:
            scanner.unfinished("the query is missing, such as follows(X, $key)")
        scanner.wrong("a query expected after where, such as follows(X, $key)")
    relation = _read_tail(scanner, {"query": text, "var": None}, _CLAUSES, ())
    if relation["var"] is None:
        relation["var"] = first_variable(text)
    if relation["var"] is None:
        if scanner.at_end:
            scanner.unfinished("the query needs a variable, such as X", start)
        scanner.wrong("the query has no variable to take keys from, such as X", start, start + len(text))
    return relation


def first_variable(text: str) -> str | None:
    """The first variable of a query that has a name; None if there is none."""
    bare = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", " ", text)
    match = re.search(r"(?<![\w$])[A-Z]\w*", bare)
    return match.group() if match else None


def _read_tail(scanner: Scanner, relation: dict[str, Any], allowed: tuple[str, ...], below: Source) -> dict[str, Any]:
    """`in BUCKET`, `limit N`, `var X` in any order, then perhaps a block."""
    while True:
        mark = scanner.pos
        scanner.skip_space()
        spaced = not scanner.after_word
        word = scanner.read_name()
        if scanner.at_end and spaced:
            left = tuple(clause for clause in allowed if _member(clause) not in relation or clause == "var")
            scanner.expect("keyword", word or scanner.here(), left)
        if word is None or word.value not in allowed or scanner.peek() == ":":
            scanner.pos = mark
            break
        scanner.span(word.start, word.end, "keyword")
        below = _read_clause(scanner, relation, word.value, below)
    mark = scanner.pos
    scanner.skip_space()
    if scanner.peek() == "{":
        relation["relations"] = read_relations(scanner, below)
    else:
        scanner.pos = mark
    return relation


def _member(clause: str) -> str:
    return "bucket" if clause == "in" else clause


def _read_clause(scanner: Scanner, relation: dict[str, Any], clause: str, below: Source) -> Source:
    """Read what follows a clause's word; where the records below come from then."""
    scanner.skip_space()
    word = scanner.read_word("bucket" if clause == "in" else "")
    if word is None:
        if scanner.at_end:
            scanner.unfinished(f"{clause} takes a value")
        scanner.wrong(f"{clause} takes a value, not {scanner.peek()!r}")
    if clause == "in":
        scanner.span(word.start, word.end, "bucket")
        relation["bucket"] = word.value
        return ("bucket", word.value)
    if clause == "var":
        scanner.span(word.start, word.end, "variable")
        relation["var"] = word.value
        return below
    if not word.value.isdecimal():
        scanner.wrong(f"limit takes a whole number, not {word.value}", word.start, word.end)
    scanner.span(word.start, word.end, "number")
    relation["limit"] = int(word.value)
    return below
