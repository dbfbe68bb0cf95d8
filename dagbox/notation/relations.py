"""Nested relations as people write them, and the wire form they stand for.

    { posts: post/p1, post/p2 { author: via author }
      drafts: (post/d1, post/d2) limit 1 { author: via author }
      team: via team
      fans: where follows(X, $key) in user limit 10 }

Names are separated by white space, commas or semicolons. A block belongs to the ref before it; a block after brackets
belongs to each ref in them. The JSON of the wire form is accepted in the place of the whole block, or of one relation.
"""

from __future__ import annotations

import re
from typing import Any

from dagbox.notation.datalog import first_variable, read_datalog
from dagbox.notation.json import read_json
from dagbox.notation.scanner import Expect, Scanner
from dagbox.text.numbers import whole_number

Source = tuple[Any, ...]
"""The record whose fields can be completed: ("record", bucket, key), ("bucket", name), ("via", source, path), or ()
if it cannot be known."""

_CLAUSES = ("in", "limit", "var")
_JSON_BLOCK = re.compile(r'\{\s*"(?:[^"\\]|\\.)*"\s*:\s*[\[{]')
_VIA_OR_WHERE = re.compile(r"(via|where)(?!\S)")
_NEXT_RELATION = re.compile(r"\s*,\s*[^\W\d][\w.-]*:")


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
    scanner.pos += 1
    relations: dict[str, Any] = {}
    while (char := scanner.next_char(separators=True)) != "}":
        if not char:
            if scanner.spaced:
                scanner.expect(Expect.RELATION, None, (source, tuple(relations)))
            scanner.unfinished("} is missing", opened)
        word = scanner.read_label(Expect.RELATION, "relation", (source, tuple(relations)))
        if word is None:
            scanner.wrong(f"the name of a relation expected, such as author, not {char!r}")
        if (name := word.value) in relations:
            scanner.wrong(f"the relation {name} is there twice: give one of them another name", word.start, word.end)
        scanner.need(":", f"after the relation's name {name}")
        relations[name] = _read_relation(scanner, source, name)
    scanner.pos += 1
    return relations


def _read_json_block(scanner: Scanner) -> dict[str, Any]:
    start = scanner.pos
    value = read_json(scanner)
    if not isinstance(value, dict):
        scanner.wrong("relations are an object: name -> relation", start, scanner.pos)
    return value


def _read_relation(scanner: Scanner, source: Source, name: str) -> Any:
    char = scanner.next_char()
    if char == "(":
        return _read_group(scanner)
    if char in ("[", "{"):
        return read_json(scanner)
    match = _VIA_OR_WHERE.match(scanner.text, scanner.pos)
    if match is None:
        return _read_list(scanner, source, name)
    scanner.read_name(Expect.RELATION_VALUE, "keyword", source)
    if match.group() == "where":
        return _read_where(scanner)
    word = scanner.read_word(Expect.PATH, "path", source)
    if word is None:
        scanner.absent("a path expected after via, such as author or meta.author")
    return _read_tail(scanner, {"path": word.value}, ("in", "limit"), ("via", source, word.value))


def _read_list(scanner: Scanner, source: Source, name: str) -> list[dict[str, Any]]:
    """Read `post/p1, post/p2 { ... }`: refs with relations of their own."""
    out = [_read_object(scanner, source, name)]
    while not _NEXT_RELATION.match(scanner.text, scanner.pos) and scanner.take(","):
        out.append(_read_object(scanner, source, name))
    return out


def _read_object(scanner: Scanner, source: Source, name: str) -> dict[str, Any]:
    bucket, key = _read_pair(scanner, f"{name}: takes bucket/key, via PATH, where QUERY or (bucket/key, ...)", source)
    target: dict[str, Any] = {"bucket": bucket, "key": key}
    mark = scanner.pos
    if scanner.next_char() == "{":
        target["relations"] = read_relations(scanner, ("record", bucket, key))
    else:
        scanner.pos = mark
    return target


def _read_pair(scanner: Scanner, usage: str, source: Source = ()) -> tuple[str, str]:
    word = scanner.read_word(Expect.RELATION_VALUE, "ref", source)
    if word is None:
        scanner.absent(usage)
    bucket, slash, key = word.value.partition("/")
    if not (slash and bucket and key):
        scanner.spans.pop()
        if word.end == scanner.end:
            scanner.unfinished(usage, word.start)
        scanner.wrong(usage, word.start, word.end)
    return bucket, key


def _read_group(scanner: Scanner) -> dict[str, Any]:
    """Read `(post/p1, post/p2) limit 1 { ... }`: one limit and one block for all refs."""
    scanner.pos += 1
    keys: list[list[str]] = []
    while not scanner.take(")"):
        keys.append(list(_read_pair(scanner, "brackets take bucket/key, bucket/key, ...")))
        if not scanner.take(",") and scanner.next_char() != ")":
            scanner.need(")", "after the refs")
    relation: dict[str, Any] = {"keys": keys}
    first = keys[0] if keys else None
    return _read_tail(scanner, relation, ("limit",), ("record", *first) if first else ())


def _read_where(scanner: Scanner) -> dict[str, Any]:
    scanner.next_char()
    start = scanner.pos
    text = read_datalog(scanner, stops=_CLAUSES, in_relation=True)
    if not text:
        scanner.absent("a query expected after where, such as follows(X, $key)")
    relation = _read_tail(scanner, {"query": text, "var": None}, _CLAUSES, ())
    if relation["var"] is None:
        relation["var"] = first_variable(text)
    if relation["var"] is None:
        if scanner.at_end:
            scanner.unfinished("the query needs a variable, such as X", start)
        scanner.wrong("the query has no variable to take keys from, such as X", start, start + len(text))
    return relation


def _read_tail(scanner: Scanner, relation: dict[str, Any], allowed: tuple[str, ...], below: Source) -> dict[str, Any]:
    """Read `in BUCKET`, `limit N`, `var X` in any order, then perhaps a block."""
    while True:
        mark = scanner.pos
        char = scanner.next_char()
        spaced = scanner.spaced
        word = scanner.read_name() if char.isalpha() else None
        if spaced and scanner.at_end:
            left = tuple(clause for clause in allowed if _member(clause) not in relation or clause == "var")
            scanner.expect(Expect.KEYWORD, word, left)
        if word is None or word.value not in allowed or scanner.peek() == ":":
            break
        scanner.span(word.start, word.end, "keyword")
        below = _read_clause(scanner, relation, word.value, below)
    if char == "{":
        relation["relations"] = read_relations(scanner, below)
    else:
        scanner.pos = mark
    return relation


def _member(clause: str) -> str:
    return "bucket" if clause == "in" else clause


def _read_clause(scanner: Scanner, relation: dict[str, Any], clause: str, below: Source) -> Source:
    """Read the value of a clause into the relation; return the source of the records below."""
    word = scanner.read_word(Expect.BUCKET if clause == "in" else None)
    if word is None:
        scanner.absent(f"{clause} takes a value")
    if clause == "in":
        scanner.span(word.start, word.end, "bucket")
        relation["bucket"] = word.value
        return ("bucket", word.value)
    if clause == "var":
        scanner.span(word.start, word.end, "variable")
        relation["var"] = word.value
        return below
    number = whole_number(word.value)
    if number is None:
        scanner.wrong(f"limit takes a whole number, not {word.value[:40]}", word.start, word.end)
    scanner.span(word.start, word.end, "number")
    relation["limit"] = number
    return below
