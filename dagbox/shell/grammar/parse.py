"""From text to a command: one parse of the text serves execution, completion, highlighting and hints.

    NAME args... [--options] [| PROGRAM] [> FILE] [>> FILE]

`parse` never raises: what is wrong is in `ParsedCommand.problem`, and an `Unfinished` problem says that the text is the
beginning of a command that more lines can complete.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagbox
from dagbox.notation.datalog import read_datalog, read_facts
from dagbox.notation.json import read_json
from dagbox.notation.problems import SyntaxProblem, Unfinished
from dagbox.notation.relations import Source, read_relations
from dagbox.notation.scanner import Expected, Scanner, Span, Word
from dagbox.shell.grammar.catalog import CATALOG
from dagbox.shell.grammar.command_spec import REST, CommandSpec, Kind, Option, Param

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class RecordTarget:
    """A record to write: `key` is None where the store is to create one."""

    bucket: str
    key: str | None


@dataclass(frozen=True, slots=True)
class Prefix:
    """A bucket, or the keys of it that begin with some text."""

    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class FileValue:
    """The value is in this file."""

    path: Path


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A read as the wire form has it: one record with its relations."""

    ref: dagbox.Ref
    relations: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A query, and the variables whose records are wanted."""

    text: str
    fetch: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where the result goes: to a program's input, or to a file.

    Args:
        program: a command line for the system's shell.
        path: the file.
        append: add to the file instead of writing it anew.
    """

    program: str = ""
    path: Path | None = None
    append: bool = False


@dataclass(slots=True)
class ParsedCommand:
    """What a text was understood to be.

    Attributes:
        command: None for an empty line or a comment, or where the name is wrong.
        values: argument name -> value, for the command's function.
        active: the parameter or option (argument name) that the text ends in.
        expected: what could stand at the end of the text.
        spans: what stands where, for highlighting.
        problem: what is wrong, or None.
    """

    text: str
    command: CommandSpec | None = None
    values: dict[str, Any] = field(default_factory=dict)
    redirect: Redirect | None = None
    active: str = ""
    expected: list[Expected] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    problem: SyntaxProblem | None = None

    @property
    def being_typed(self) -> bool:
        """Whether what is wrong may come right by typing on: something is open, or absent, or a word is not whole."""
        if self.problem is None:
            return False
        start = self.problem.start
        at_end = start >= len(self.text.rstrip()) or any(expected.start == start for expected in self.expected)
        return self.unfinished or at_end

    @property
    def unfinished(self) -> bool:
        """Whether more lines can complete the command."""
        return isinstance(self.problem, Unfinished)


def parse(text: str, bucket: str | None = None) -> ParsedCommand:
    """Understand a text as far as it goes.

    Args:
        bucket: the bucket that `use` set.
    """
    scanner = Scanner(text, bucket)
    parsed = ParsedCommand(text, expected=scanner.expected, spans=scanner.spans)
    try:
        _read_command(scanner, parsed)
    except SyntaxProblem as problem:
        parsed.problem = problem
        scanner.span(problem.start, problem.end, "unfinished" if parsed.being_typed else "error")
    except RecursionError:
        parsed.problem = SyntaxProblem("nested too deep", 0, len(text))
    return parsed


def _read_command(scanner: Scanner, parsed: ParsedCommand, around: _Arguments | None = None) -> None:
    scanner.skip_space()
    if scanner.peek() == "#":
        scanner.span(scanner.pos, len(scanner.text), "comment")
        return
    word = scanner.read_word("command")
    if word is None:
        if not scanner.at_end:
            scanner.wrong(f"a command expected, not {scanner.peek()!r}: `help` lists them")
        return
    command = CATALOG.get(word.value)
    if command is None:
        close = difflib.get_close_matches(word.value.lower(), CATALOG.by_name, n=1)
        hint = f"did you mean {close[0]}?" if close else "`help` lists them"
        scanner.wrong(f"no command {word.value}: {hint}", word.start, word.end)
    scanner.span(word.start, word.end, "danger" if command.danger else "command")
    parsed.command = command
    _Arguments(scanner, parsed, command, around).parse()


class _Arguments:
    """Reads what follows a command's name into `parsed.values`."""

    def __init__(
        self, scanner: Scanner, parsed: ParsedCommand, command: CommandSpec, around: _Arguments | None = None
    ) -> None:
        self.scanner = scanner
        self.parsed = parsed
        self.command = command
        self.around = around
        self.values = parsed.values
        self.place = 0

    def parse(self) -> None:
        """Read until the end of the text, or the redirection."""
        scanner = self.scanner
        while True:
            scanner.skip_space()
            spaced = scanner.text[scanner.pos - 1 : scanner.pos].isspace()
            if scanner.peek() in ("|", ">") and not scanner.at_end:
                self._read_redirect()
                break
            if scanner.text.startswith("--", scanner.pos) and spaced:
                self.read_option()
                continue
            param = self._next_param()
            if scanner.at_end:
                self._expect_at_end(param, spaced)
                break
            if param is None:
                scanner.wrong(f"{self.command.name} takes no more than this", scanner.pos, len(scanner.text))
            self._read_param(param)
        self._complete()

    def _next_param(self) -> Param | None:
        """The parameter that comes next; a repeated one gives way to a block in braces."""
        params = self.command.params
        if self.place >= len(params):
            return None
        param = params[self.place]
        if param.many and self.values.get(param.name) and self.place + 1 < len(params) and self.scanner.peek() == "{":
            self.place += 1
            return params[self.place]
        return param

    def _expect_at_end(self, param: Param | None, spaced: bool) -> None:
        """Note what could come at the end of the text, where nothing has begun yet."""
        scanner = self.scanner
        if not spaced:
            return
        self.parsed.active = param.name if param else ""
        scanner.expect("option", scanner.here(), (self.command, tuple(self.values)))
        if param is not None:
            self._expect_param(param)
            following = self.command.params[self.place + 1 : self.place + 2]
            if param.many and self.values.get(param.name) and following:
                self._expect_param(following[0])

    def _expect_param(self, param: Param) -> None:
        """Have the parameter's reader note what it expects; that it finds nothing is no error here."""
        scanner = self.scanner
        try:
            READERS[param.kind](scanner, self.values)
        except SyntaxProblem:
            scanner.pos = len(scanner.text)

    def _read_param(self, param: Param) -> None:
        scanner, start = self.scanner, self.scanner.pos
        self.parsed.active = param.name
        if param.kind is Kind.COMMAND:
            inner = ParsedCommand(scanner.text[start:], expected=scanner.expected, spans=scanner.spans)
            _read_command(scanner, inner, self)
            inner.text = scanner.text[start : scanner.pos]
            self.values[param.name] = inner
        else:
            value = READERS[param.kind](scanner, self.values)
            if param.many:
                self.values.setdefault(param.name, []).append(value)
            else:
                self.values[param.name] = value
        if not param.many:
            self.place += 1
        if scanner.pos == start:
            scanner.wrong(f"{scanner.peek()!r} cannot stand here", start)
        if scanner.pos < len(scanner.text) and param.kind not in REST:
            self._need_space()

    def _need_space(self) -> None:
        if self.scanner.peek() not in " \t\r\n|>{":
            self.scanner.wrong(f"a space expected, not {self.scanner.peek()!r}")

    def read_option(self) -> None:
        """Read an option and its value."""
        scanner, start = self.scanner, self.scanner.pos
        match = re.compile(r"--[\w-]*").match(scanner.text, start)
        end = match.end() if match else start + 2
        scanner.pos = end
        name = scanner.text[start + 2 : end]
        scanner.expect("option", Word(scanner.text[start:end], start, end), (self.command, tuple(self.values)))
        option = self.command.option(name)
        if option is None and self.around is not None and self.around.command.option(name):
            # `watch locks --every 1s`: what the inner command does not have belongs to the one around it.
            scanner.pos = start
            self.around.read_option()
            return
        if option is None:
            known = [f"--{option.name}" for option in self.command.all_options]
            close = difflib.get_close_matches(f"--{name}", known, n=1)
            if scanner.at_end and any(other.startswith(f"--{name}") for other in known):
                scanner.wrong(f"which option? {', '.join(known)}", start, end)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            scanner.wrong(f"{self.command.name} has no option --{name}: {hint}", start, end)
        scanner.span(start, end, "option")
        self.parsed.active = option.argument
        self.values[option.argument] = True if option.kind is None else self._read_option_value(option)

    def _read_option_value(self, option: Option) -> Any:
        scanner = self.scanner
        if not scanner.take("=", "option") and not scanner.skip_space():
            if scanner.at_end:
                scanner.wrong(f"--{option.name} takes a value: {option.label}", scanner.pos)
            scanner.wrong("a space or = expected")
        if option.kind is Kind.CHOICE:
            return _read_choice(scanner, option.choices)
        start = scanner.pos
        value = READERS[option.kind or Kind.TEXT](scanner, self.values)
        if scanner.pos == start:
            scanner.wrong(f"--{option.name} takes a value: {option.label}", start)
        return value

    def _read_redirect(self) -> None:
        scanner, start = self.scanner, self.scanner.pos
        if scanner.take("|", "redirect"):
            program = scanner.text[scanner.pos :].strip()
            scanner.span(scanner.pos, len(scanner.text), "program")
            scanner.pos = len(scanner.text)
            if not program:
                scanner.unfinished("the program is missing, such as | jq .", start)
            self.parsed.redirect = Redirect(program=program)
            return
        append = scanner.take(">>", "redirect") or not scanner.take(">", "redirect")
        scanner.skip_space()
        word = scanner.read_word("file")
        if word is None:
            scanner.wrong("the file's name is missing, such as > out.json", start, len(scanner.text))
        scanner.span(word.start, word.end, "file")
        self.parsed.redirect = Redirect(path=Path(word.value).expanduser(), append=append)
        scanner.skip_space()
        if not scanner.at_end:
            scanner.wrong("nothing may come after the file", scanner.pos, len(scanner.text))

    def _complete(self) -> None:
        """Fill in what is absent; an absent parameter that is needed is wrong."""
        for param in self.command.params:
            if param.name in self.values:
                continue
            if not param.optional:
                message = f"{param.label} is missing: {self.command.signature}"
                self.scanner.wrong(message, len(self.scanner.text.rstrip()), len(self.scanner.text))
            self.values[param.name] = [] if param.many else None
        for option in self.command.all_options:
            self.values.setdefault(option.argument, False if option.kind is None else None)


# -- a reader for each kind: (scanner, the values so far) -> value


def _word(scanner: Scanner, kind: str, style: str, detail: Any = None) -> Word:
    word = scanner.read_word(kind, detail)
    if word is None:
        if scanner.at_end:
            scanner.wrong("a value is missing")
        scanner.wrong(f"{scanner.peek()!r} cannot stand here: put the text in quotes")
    scanner.span(word.start, word.end, style)
    return word


def split_ref(text: str, bucket: str | None) -> tuple[str, str]:
    """The bucket and key of `bucket/key`, or of `key` and `/key` where `use` set a bucket; parts may be empty."""
    before, slash, after = text.partition("/")
    if bucket is not None and (not slash or not before):
        return bucket, after if slash else before
    return (before, after) if slash else (before, "")


def _read_ref(scanner: Scanner, values: dict[str, Any]) -> dagbox.Ref | ReadRequest:
    if scanner.peek() == "{":
        return _read_request(scanner)
    word = _word(scanner, "ref", "ref")
    bucket, key = split_ref(word.value, scanner.bucket)
    if not bucket or not key:
        scanner.wrong(f"{word.value} names no record: write bucket/key, or `use BUCKET` first", word.start, word.end)
    return dagbox.Ref(bucket, key)


def _read_request(scanner: Scanner) -> ReadRequest:
    """A read in the JSON of the wire form."""
    start = scanner.pos
    value = read_json(scanner)
    if not isinstance(value, dict) or not isinstance(value.get("bucket"), str) or not isinstance(value.get("key"), str):
        scanner.wrong('a read is {"bucket": ..., "key": ..., "relations": {...}}', start, scanner.pos)
    relations = value.get("relations", {})
    unknown = set(value) - {"bucket", "key", "relations"}
    if unknown or not isinstance(relations, dict):
        scanner.wrong("a read has bucket, key and relations (an object), nothing else", start, scanner.pos)
    return ReadRequest(dagbox.Ref(value["bucket"], value["key"]), relations)


def _read_target(scanner: Scanner, values: dict[str, Any]) -> RecordTarget:
    word = _word(scanner, "ref", "ref")
    bucket, key = split_ref(word.value, scanner.bucket)
    if not bucket or not ("/" in word.value or scanner.bucket):
        message = f"write {word.value}/KEY, or {word.value}/ to have a key created, or `use BUCKET` first"
        scanner.wrong(message, word.start, word.end)
    return RecordTarget(bucket, key or None)


def _read_prefix(scanner: Scanner, values: dict[str, Any]) -> Prefix:
    word = _word(scanner, "ref", "ref")
    bucket, _, prefix = word.value.partition("/")
    if scanner.bucket is not None and not bucket:
        return Prefix(scanner.bucket, prefix)
    if not bucket:
        scanner.wrong("a bucket expected before the slash", word.start, word.end)
    return Prefix(bucket, prefix)


def _source_of(values: dict[str, Any]) -> Source:
    refs = values.get("refs")
    if not refs:
        return ()
    ref = refs[-1].ref if isinstance(refs[-1], ReadRequest) else refs[-1]
    return ("record", ref.bucket, ref.key)


def _read_relations(scanner: Scanner, values: dict[str, Any]) -> dict[str, Any]:
    if scanner.at_end:
        scanner.expect("literal", scanner.here(), ("{", "relations"))
        scanner.wrong("a block of relations is missing")
    if scanner.peek() != "{":
        scanner.wrong("relations stand in braces: { name: ... }")
    return read_relations(scanner, _source_of(values))


def _read_value(scanner: Scanner, values: dict[str, Any]) -> Any:
    target = values.get("target")
    if scanner.peek() == "@":
        start = scanner.pos
        scanner.pos += 1
        word = scanner.read_word("file")
        if word is None:
            scanner.wrong("the file's name is missing after @", start)
        scanner.span(start, word.end, "file")
        return FileValue(Path(word.value).expanduser())
    if scanner.at_end:
        scanner.expect("literal", scanner.here(), ("{", "JSON"))
    return read_json(scanner, target)


def _read_json(scanner: Scanner, values: dict[str, Any]) -> Any:
    return read_json(scanner)


def _read_number(scanner: Scanner, values: dict[str, Any]) -> int:
    word = _word(scanner, "number", "number")
    if not word.value.isdecimal():
        scanner.wrong(f"a whole number expected, not {word.value}", word.start, word.end)
    return int(word.value)


def _read_duration(scanner: Scanner, values: dict[str, Any]) -> float:
    word = _word(scanner, "duration", "number")
    match = _DURATION.fullmatch(word.value)
    if match is None:
        scanner.wrong(f"a time expected, such as 500ms, 10s, 5m, 2h, 7d, not {word.value}", word.start, word.end)
    return float(match.group(1)) * _SECONDS[match.group(2) or ""]


def _read_choice(scanner: Scanner, choices: tuple[str, ...]) -> str:
    word = _word(scanner, "keyword", "literal", choices)
    if word.value not in choices:
        scanner.wrong(f"{word.value} is none of {', '.join(choices)}", word.start, word.end)
    return word.value


def _read_fields(scanner: Scanner, values: dict[str, Any]) -> list[str]:
    prefix = values.get("prefix")
    source: Source = ("bucket", prefix.bucket) if prefix is not None else ()
    names: list[str] = []
    while True:
        names.append(_word(scanner, "path", "path", source).value)
        if not scanner.take(","):
            return names


def _read_query(scanner: Scanner, values: dict[str, Any]) -> Query:
    text = read_datalog(scanner, stops=("fetch",)).strip()
    fetch: dict[str, dict[str, Any]] = {}
    if scanner.at_end and text and scanner.text[-1:].isspace():
        scanner.expect("keyword", scanner.here(), ("fetch",))
    if scanner.text.startswith("fetch", scanner.pos):
        scanner.take("fetch", "keyword")
        _read_fetch(scanner, fetch)
    return Query(text.removesuffix(".").rstrip(), fetch)


def _read_fetch(scanner: Scanner, fetch: dict[str, dict[str, Any]]) -> None:
    """`X in package { ... }, Y in user`."""
    while True:
        scanner.skip_space()
        name = scanner.read_name()
        if name is None or not name.value[0].isupper():
            if scanner.at_end:
                scanner.unfinished("fetch takes a variable, such as fetch X in package")
            scanner.wrong("fetch takes a variable, such as fetch X in package")
        scanner.span(name.start, name.end, "variable")
        wanted: dict[str, Any] = {}
        mark = scanner.pos
        spaced = scanner.skip_space()
        if spaced and scanner.at_end:
            scanner.expect("keyword", scanner.here(), ("in",))
        source: Source = ()
        if re.compile(r"in\b").match(scanner.text, scanner.pos):
            scanner.take("in", "keyword")
            scanner.skip_space()
            wanted["bucket"] = _word(scanner, "bucket", "bucket").value
            source = ("bucket", wanted["bucket"])
            mark = scanner.pos
            scanner.skip_space()
        if scanner.peek() == "{":
            wanted["relations"] = read_relations(scanner, source)
            mark = scanner.pos
        scanner.pos = mark
        fetch[name.value] = wanted
        scanner.skip_space()
        if not scanner.take(","):
            return


def _read_goal(scanner: Scanner, values: dict[str, Any]) -> str:
    return read_datalog(scanner).strip().removesuffix(".").rstrip()


def _read_rule(scanner: Scanner, values: dict[str, Any]) -> str:
    return read_datalog(scanner).strip()


def _read_facts(scanner: Scanner, values: dict[str, Any]) -> list[tuple[str, tuple[Any, ...]]]:
    return read_facts(scanner)


def _word_reader(kind: str, style: str) -> Callable[[Scanner, dict[str, Any]], str]:
    def read_it(scanner: Scanner, values: dict[str, Any]) -> str:
        return _word(scanner, kind, style, values.get("name")).value

    return read_it


def _read_inner_name(scanner: Scanner, values: dict[str, Any]) -> None:
    _word(scanner, "command", "command")


READERS: dict[Kind, Callable[[Scanner, dict[str, Any]], Any]] = {
    Kind.REF: _read_ref,
    Kind.TARGET: _read_target,
    Kind.PREFIX: _read_prefix,
    Kind.BUCKET: _word_reader("bucket", "bucket"),
    Kind.RELATIONS: _read_relations,
    Kind.VALUE: _read_value,
    Kind.JSON: _read_json,
    Kind.LOCK: _word_reader("lock", "lock"),
    Kind.FACTS: _read_facts,
    Kind.PREDICATE: _word_reader("predicate-name", "predicate"),
    Kind.RULE: _read_rule,
    Kind.RULE_ID: _word_reader("rule-id", "name"),
    Kind.QUERY: _read_query,
    Kind.QUERY_ID: _word_reader("query-id", "name"),
    Kind.GOAL: _read_goal,
    Kind.SERVICE: _word_reader("service", "service"),
    Kind.WORKER: _word_reader("worker", "service"),
    Kind.TRACE: _word_reader("trace", "name"),
    Kind.COMMAND: _read_inner_name,
    Kind.TOPIC: _word_reader("topic", "command"),
    Kind.SETTING: _word_reader("setting", "option"),
    Kind.SETTING_VALUE: _word_reader("setting-value", "literal"),
    Kind.FILE: _word_reader("file", "file"),
    Kind.TEXT: _word_reader("text", "string"),
    Kind.NUMBER: _read_number,
    Kind.DURATION: _read_duration,
    Kind.FIELDS: _read_fields,
}
