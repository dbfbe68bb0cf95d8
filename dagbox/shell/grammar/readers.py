"""A reader for each kind of value that commands take: `reader(scanner, values)` -> value.

`values` holds what was read before for the same command, by argument name. Every reader raises SyntaxProblem, or
Unfinished where more lines can complete the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import dagbox
from dagbox.notation.datalog import Fact, read_datalog, read_facts
from dagbox.notation.json import names_file, read_json
from dagbox.notation.relations import Source, read_relations
from dagbox.notation.scanner import Expect, Scanner, Style, Word, split_ref
from dagbox.shell.grammar.command_spec import Kind
from dagbox.shell.grammar.parsed import FileValue, Prefix, Query, ReadRequest, RecordTarget
from dagbox.text.durations import parse_duration
from dagbox.text.files import path_of
from dagbox.text.limits import read_limit
from dagbox.text.numbers import whole_number

Values = dict[str, Any]
Reader = Callable[[Scanner, Values], Any]

_FETCH = re.compile(r"fetch\b")
_IN = re.compile(r"in\b")


def read_choice(scanner: Scanner, choices: tuple[str, ...]) -> str:
    """Read one of the words that an option may have."""
    word = _word(scanner, Expect.KEYWORD, "literal", choices)
    if word.value not in choices:
        scanner.wrong(f"{word.value} is none of {', '.join(choices)}", word.start, word.end)
    return word.value


def _word(scanner: Scanner, expected: Expect, style: Style, detail: Any = None) -> Word:
    word = scanner.read_word(expected, style, detail)
    if word is None:
        if scanner.at_end:
            scanner.wrong("a value is missing")
        scanner.wrong(f"{scanner.peek()!r} cannot stand here: put the text in quotes")
    return word


def _word_reader(expected: Expect, style: Style) -> Reader:
    return lambda scanner, values: _word(scanner, expected, style, values.get("name")).value


# -- records


def _read_ref(scanner: Scanner, values: Values) -> dagbox.Ref | ReadRequest:
    if scanner.text.startswith("{", scanner.pos):
        return _read_request(scanner)
    word = _word(scanner, Expect.REF, "ref")
    bucket, key = split_ref(word.value, scanner.bucket)
    if not bucket or not key:
        scanner.wrong(f"{word.value} names no record: write bucket/key, or `use BUCKET` first", word.start, word.end)
    return dagbox.Ref(bucket, key)


def _read_request(scanner: Scanner) -> ReadRequest:
    """Read a read in the JSON of the wire form."""
    start = scanner.pos
    value = read_json(scanner)
    if not isinstance(value, dict) or not isinstance(value.get("bucket"), str) or not isinstance(value.get("key"), str):
        scanner.wrong('a read is {"bucket": ..., "key": ..., "relations": {...}}', start, scanner.pos)
    relations = value.get("relations", {})
    unknown = set(value) - {"bucket", "key", "relations"}
    if unknown or not isinstance(relations, dict):
        scanner.wrong("a read has bucket, key and relations (an object), nothing else", start, scanner.pos)
    return ReadRequest(dagbox.Ref(value["bucket"], value["key"]), relations)


def _read_target(scanner: Scanner, values: Values) -> RecordTarget:
    word = _word(scanner, Expect.REF, "ref")
    bucket, key = split_ref(word.value, scanner.bucket)
    if not bucket or not ("/" in word.value or scanner.bucket):
        message = f"write {word.value}/KEY, or {word.value}/ to have a key created, or `use BUCKET` first"
        scanner.wrong(message, word.start, word.end)
    return RecordTarget(bucket, key or None)


def _read_prefix(scanner: Scanner, values: Values) -> Prefix:
    word = _word(scanner, Expect.REF, "ref")
    bucket, prefix = split_ref(word.value, scanner.bucket)
    if not bucket:
        scanner.wrong("a bucket expected before the slash", word.start, word.end)
    return Prefix(bucket, prefix)


def _read_relations(scanner: Scanner, values: Values) -> dict[str, Any]:
    if not scanner.text.startswith("{", scanner.pos):
        if scanner.next_char():
            scanner.wrong("relations stand in braces: { name: ... }")
        scanner.expect(Expect.LITERAL, None, ("{", "relations"))
        scanner.wrong("a block of relations is missing")
    return read_relations(scanner, _source_of(values))


def _source_of(values: Values) -> Source:
    refs = values.get("refs")
    if not refs:
        return ()
    ref = refs[-1].ref if isinstance(refs[-1], ReadRequest) else refs[-1]
    return ("record", ref.bucket, ref.key)


def _read_value(scanner: Scanner, values: Values) -> Any:
    start, rest = scanner.pos, scanner.text[scanner.pos :]
    if rest.startswith("@") and names_file(rest[1:].lstrip("\"'")):
        scanner.pos += 1
        word = _word(scanner, Expect.FILE, "file")
        scanner.span(start, start + 1, "file")
        return FileValue(path_of(word.value))
    if rest == "@":
        scanner.pos = scanner.end
        scanner.expect(Expect.LITERAL, None, ("./", "a file"))
        scanner.pos = start
    if not rest:
        scanner.expect(Expect.LITERAL, None, ("{", "JSON"))
    return read_json(scanner, values.get("target"))


def _read_fields(scanner: Scanner, values: Values) -> list[str]:
    prefix = values.get("prefix")
    source: Source = ("bucket", prefix.bucket) if prefix is not None else ()
    names = [_word(scanner, Expect.PATH, "path", source).value]
    while scanner.peek() == "," and scanner.take(","):
        names.append(_word(scanner, Expect.PATH, "path", source).value)
    return names


# -- numbers and durations


def _read_number(scanner: Scanner, values: Values) -> int:
    word = _word(scanner, Expect.NUMBER, "number")
    number = whole_number(word.value)
    if number is None:
        scanner.wrong(f"a whole number expected, not {word.value[:40]}", word.start, word.end)
    return number


def _read_count(scanner: Scanner, values: Values) -> int:
    word = _word(scanner, Expect.NUMBER, "number")
    try:
        return read_limit(word.value)
    except ValueError as error:
        scanner.wrong(str(error), word.start, word.end)


def _read_duration(scanner: Scanner, values: Values) -> float:
    word = _word(scanner, Expect.DURATION, "number")
    try:
        return parse_duration(word.value)
    except ValueError:
        scanner.wrong(f"a time expected, such as 500ms, 10s, 5m, 2h, 7d, not {word.value}", word.start, word.end)


# -- Datalog


def _read_query(scanner: Scanner, values: Values) -> Query:
    text = read_datalog(scanner, stops=("fetch",))
    fetch: dict[str, dict[str, Any]] = {}
    if scanner.at_end and text and scanner.text[-1:].isspace():
        scanner.expect(Expect.KEYWORD, None, ("fetch",))
    if _FETCH.match(scanner.text, scanner.pos):
        scanner.take("fetch", "keyword")
        _read_fetch(scanner, fetch)
    return Query(text.removesuffix(".").rstrip(), fetch)


def _read_fetch(scanner: Scanner, fetch: dict[str, dict[str, Any]]) -> None:
    """Read `X in package { ... }, Y in user`."""
    while True:
        scanner.next_char()
        name = scanner.read_name(style="variable")
        if name is None or not name.value[0].isupper():
            scanner.absent("fetch takes a variable, such as fetch X in package")
        fetch[name.value] = _read_fetched(scanner)
        if not scanner.take(","):
            return


def _read_fetched(scanner: Scanner) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    source: Source = ()
    mark = scanner.pos
    char = scanner.next_char()
    if not char and scanner.spaced:
        scanner.expect(Expect.KEYWORD, None, ("in",))
    if _IN.match(scanner.text, scanner.pos):
        scanner.take("in", "keyword")
        wanted["bucket"] = _word(scanner, Expect.BUCKET, "bucket").value
        source = ("bucket", wanted["bucket"])
        mark = scanner.pos
        char = scanner.next_char()
    if char == "{":
        wanted["relations"] = read_relations(scanner, source)
    else:
        scanner.pos = mark
    return wanted


def _read_goal(scanner: Scanner, values: Values) -> str:
    return read_datalog(scanner).removesuffix(".").rstrip()


def _read_rule(scanner: Scanner, values: Values) -> str:
    return read_datalog(scanner)


def _read_facts(scanner: Scanner, values: Values) -> list[Fact]:
    return read_facts(scanner)


READERS: dict[Kind, Reader] = {
    Kind.REF: _read_ref,
    Kind.TARGET: _read_target,
    Kind.PREFIX: _read_prefix,
    Kind.BUCKET: _word_reader(Expect.BUCKET, "bucket"),
    Kind.RELATIONS: _read_relations,
    Kind.VALUE: _read_value,
    Kind.LOCK: _word_reader(Expect.LOCK, "lock"),
    Kind.FACTS: _read_facts,
    Kind.PREDICATE: _word_reader(Expect.PREDICATE_NAME, "predicate"),
    Kind.RULE: _read_rule,
    Kind.RULE_ID: _word_reader(Expect.RULE_ID, "name"),
    Kind.QUERY: _read_query,
    Kind.QUERY_ID: _word_reader(Expect.QUERY_ID, "name"),
    Kind.GOAL: _read_goal,
    Kind.SERVICE: _word_reader(Expect.SERVICE, "service"),
    Kind.WORKER: _word_reader(Expect.WORKER, "service"),
    Kind.TRACE: _word_reader(Expect.TRACE, "name"),
    Kind.COMMAND: _word_reader(Expect.COMMAND, "command"),
    Kind.TOPIC: _word_reader(Expect.TOPIC, "command"),
    Kind.SETTING: _word_reader(Expect.SETTING, "option"),
    Kind.SETTING_VALUE: _word_reader(Expect.SETTING_VALUE, "literal"),
    Kind.FILE: _word_reader(Expect.FILE, "file"),
    Kind.TEXT: _word_reader(Expect.TEXT, "string"),
    Kind.NUMBER: _read_number,
    Kind.COUNT: _read_count,
    Kind.DURATION: _read_duration,
    Kind.FIELDS: _read_fields,
}
"""Every kind but CHOICE, whose words stand in the option (`read_choice`)."""
