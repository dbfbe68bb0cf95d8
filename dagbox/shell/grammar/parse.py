"""From text to a command: one parse of the text serves execution, completion, highlighting and hints.

    NAME args... [--options] [| PROGRAM] [> FILE] [>> FILE]

`parse` never raises: what is wrong is in `ParsedCommand.problem`. An `Unfinished` problem means that more lines can
complete the command.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, NoReturn

from dagbox.notation.problems import SyntaxProblem
from dagbox.notation.scanner import Expect, Scanner, Word
from dagbox.shell.grammar.catalog import CATALOG
from dagbox.shell.grammar.command_spec import REST, CommandSpec, Kind, Option, Param
from dagbox.shell.grammar.parsed import ParsedCommand, Redirect
from dagbox.shell.grammar.readers import READERS, read_choice
from dagbox.text.files import path_of

_OPTION = re.compile(r"--[\w-]*")
_AFTER_VALUE = frozenset(" \t\r\n|>{")


def parse(text: str, bucket: str | None = None) -> ParsedCommand:
    """Parse a text as far as it can be understood.

    Args:
        bucket: the bucket that `use` set.
    """
    scanner = Scanner(text, bucket)
    parsed = ParsedCommand(text, expected=scanner.expected, spans=scanner.spans)
    try:
        null = text.find("\0")
        if null >= 0:  # no path has one, and no argument of a program
            raise SyntaxProblem("a null character is no part of a command: is the text in UTF-8?", null, null + 1)
        _read_command(scanner, parsed)
    except SyntaxProblem as problem:
        parsed.problem = problem
        scanner.span(problem.start, problem.end, "unfinished" if parsed.being_typed else "error")
    except RecursionError:
        parsed.problem = SyntaxProblem("nested too deep", 0, len(text))
    return parsed


def _read_command(scanner: Scanner, parsed: ParsedCommand, around: _Arguments | None = None) -> None:
    char = scanner.next_char()
    if char == "#":
        scanner.span(scanner.pos, scanner.end, "comment")
        return
    word = scanner.read_word(Expect.COMMAND)
    if word is None:
        if char:
            scanner.wrong(f"a command expected, not {char!r}: `help` lists them")
        return
    command = CATALOG.get(word.value)
    if command is None:
        close = difflib.get_close_matches(word.value.lower(), CATALOG.by_name, n=1)
        hint = f"did you mean {close[0]}?" if close else "`help` lists them"
        scanner.wrong(f"no command {word.value}: {hint}", word.start, word.end)
    parsed.command = command
    arguments = _Arguments(scanner, parsed, command, around)
    scanner.span(word.start, word.end, "danger" if command.danger else "command")
    arguments.read()


class _Arguments:
    """Reads what follows a command's name into `parsed.values`.

    Args:
        around: the arguments of the command that this one is an argument of, as in `watch locks`.
    """

    def __init__(
        self, scanner: Scanner, parsed: ParsedCommand, command: CommandSpec, around: _Arguments | None = None
    ) -> None:
        self.scanner = scanner
        self.parsed = parsed
        self.command = command
        self.around = around
        self.values = parsed.values
        self.next_param = 0

    def read(self) -> None:
        """Read until the end of the text, or through the redirection."""
        scanner, params, values = self.scanner, self.command.params, self.values
        while (char := scanner.next_char()) not in ("|", ">"):
            if char == "-" and scanner.spaced and scanner.text.startswith("--", scanner.pos):
                self.read_option()
                continue
            param = params[self.next_param] if self.next_param < len(params) else None
            if char == "{" and param and param.many and values.get(param.name) and params[self.next_param + 1 :]:
                # A parameter that may be repeated gives way to a block in braces.
                self.next_param += 1
                param = params[self.next_param]
            if not char:
                self._expect_at_end(param)
                break
            if param is None:
                scanner.wrong(f"{self.command.name} takes no more than this", scanner.pos, scanner.end)
            start = scanner.pos
            self.parsed.active = param.name
            value = self._read_inner(start) if param.kind is Kind.COMMAND else READERS[param.kind](scanner, values)
            if param.many:
                values.setdefault(param.name, []).append(value)
            else:
                values[param.name] = value
                self.next_param += 1
            following = scanner.text[scanner.pos : scanner.pos + 1]
            if scanner.pos == start:
                scanner.wrong(f"{following!r} cannot stand here", start)
            if following and following not in _AFTER_VALUE and param.kind not in REST:
                scanner.wrong(f"a space expected, not {following!r}")
        else:
            self._read_redirect()
        self._complete()

    def _expect_at_end(self, param: Param | None) -> None:
        """Record what could come at the end of the text, where nothing has begun yet."""
        scanner = self.scanner
        if not scanner.text[-1:].isspace():
            return
        self.parsed.active = param.name if param else ""
        scanner.expect(Expect.OPTION, None, (self.command, tuple(self.values)))
        if param is not None:
            self._expect_param(param)
            following = self.command.params[self.next_param + 1 : self.next_param + 2]
            if param.many and self.values.get(param.name) and following:
                self._expect_param(following[0])

    def _expect_param(self, param: Param) -> None:
        """Have the parameter's reader record what it expects; that it finds nothing is no error here."""
        scanner = self.scanner
        try:
            READERS[param.kind](scanner, self.values)
        except SyntaxProblem:
            scanner.pos = scanner.end

    def _read_inner(self, start: int) -> ParsedCommand:
        """Read a command that is an argument, as in `watch locks`."""
        scanner = self.scanner
        inner = ParsedCommand(scanner.text[start:], expected=scanner.expected, spans=scanner.spans)
        _read_command(scanner, inner, self)
        inner.text = scanner.text[start : scanner.pos]
        return inner

    def read_option(self) -> None:
        """Read an option and its value."""
        scanner, start = self.scanner, self.scanner.pos
        match = _OPTION.match(scanner.text, start)
        end = scanner.pos = match.end() if match else start + 2
        word = Word(scanner.text[start:end], start, end)
        scanner.expect(Expect.OPTION, word, (self.command, tuple(self.values)))
        option = self.command.option(word.value[2:])
        if option is None and self.around is not None and self.around.command.option(word.value[2:]):
            # `watch locks --every 1s`: an option that the inner command lacks belongs to the one around it.
            scanner.pos = start
            self.around.read_option()
            return
        if option is None:
            self._refuse_option(word)
        scanner.span(start, end, "option")
        self.parsed.active = option.argument
        self.values[option.argument] = True if option.kind is None else self._read_option_value(option)

    def _refuse_option(self, word: Word) -> NoReturn:
        known = [f"--{option.name}" for option in self.command.all_options]
        if self.scanner.at_end and any(name.startswith(word.value) for name in known):
            self.scanner.wrong(f"which option? {', '.join(known)}", word.start, word.end)
        close = difflib.get_close_matches(word.value, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        self.scanner.wrong(f"{self.command.name} has no option {word.value}: {hint}", word.start, word.end)

    def _read_option_value(self, option: Option) -> Any:
        scanner, before = self.scanner, self.scanner.pos
        if scanner.peek() == "=":
            scanner.take("=", "option")
        elif not scanner.next_char() and scanner.pos == before:
            scanner.wrong(f"--{option.name} takes a value: {option.label}", scanner.pos)
        elif scanner.pos == before:
            scanner.wrong("a space or = expected")
        if option.kind is Kind.CHOICE:
            return read_choice(scanner, option.choices)
        start = scanner.pos
        value = READERS[option.kind or Kind.TEXT](scanner, self.values)
        if scanner.pos == start:
            scanner.wrong(f"--{option.name} takes a value: {option.label}", start)
        return value

    def _read_redirect(self) -> None:
        scanner, start = self.scanner, self.scanner.pos
        if scanner.take("|", "redirect"):
            program = scanner.text[scanner.pos :].strip()
            scanner.span(scanner.pos, scanner.end, "program")
            scanner.pos = scanner.end
            if not program:
                scanner.unfinished("the program is missing, such as | jq .", start)
            self.parsed.redirect = Redirect(program=program)
            return
        append = scanner.take(">>", "redirect") or not scanner.take(">", "redirect")
        word = scanner.read_word(Expect.FILE, "file")
        if word is None:
            scanner.wrong("the file's name is missing, such as > out.json", start, scanner.end)
        self.parsed.redirect = Redirect(path=path_of(word.value), append=append)
        if scanner.next_char():
            scanner.wrong("nothing may come after the file", scanner.pos, scanner.end)

    def _complete(self) -> None:
        """Fill in what was left out; a required parameter that is missing is wrong."""
        for param in self.command.params:
            if param.name in self.values:
                continue
            if not param.optional:
                message = f"{param.label} is missing: {self.command.signature}"
                self.scanner.wrong(message, len(self.scanner.text.rstrip()), self.scanner.end)
            self.values[param.name] = [] if param.many else None
        for name, default in self.command.option_defaults:
            self.values.setdefault(name, default)
