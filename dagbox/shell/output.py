"""Destinations of results: the terminal, its pager, a program's input, a file.

Rules:

1. Lines are written as they come and never collected: a result of any size takes little memory.
2. Data goes to standard output; notes, warnings and errors go to standard error.
3. A reader that has had enough (a closed pager, `| head`) ends the command without an error.
4. `> FILE` leaves the old file as it was if the command fails.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TextIO

from dagbox.shell.grammar.parsed import Redirect
from dagbox.shell.problems import CommandFailed
from dagbox.shell.render.palette import coloured
from dagbox.shell.render.text import Line, plain
from dagbox.text.files import whole_file
from dagbox.text.terminal import is_dumb, one_line, printable, printable_lines, supports_colour

DEFAULT_PAGER = "less -R -F -X"
FLUSH_LINES = 256
"""The most lines that wait to be written to something that is no terminal."""


class Output:
    """Standard output and standard error, as the shell uses them.

    Args:
        out: where data goes.
        err: where notes and errors go.
        colour: whether to colour what a terminal shows; None: if it understands colours and NO_COLOR is not set.
        terminal: whether `out` is one; None: ask it.
    """

    def __init__(self, out: TextIO, err: TextIO, *, colour: bool | None = None, terminal: bool | None = None) -> None:
        self.out = out
        self.err = err
        self.terminal = out.isatty() if terminal is None else terminal
        self.colour = supports_colour(out) if colour is None else colour
        self.error_colour = supports_colour(err) if colour is None else colour and err.isatty()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal."""
        size = shutil.get_terminal_size()
        return size.columns, size.lines

    def say(self, text: str, style: str = "note") -> None:
        """Write a line for people to standard error; others' text in it cannot command the terminal."""
        text = printable(text)
        self.out.flush()
        self.err.write((coloured(style, text) if self.error_colour else text) + "\n")
        self.err.flush()

    def report(self, text: str) -> None:
        """Write one line about an error to standard error."""
        self.say(f"error: {one_line(text)}", "missing")

    def text_of(self, line: Line) -> str:
        """Return a line as standard output gets it: printable on a terminal, as it is elsewhere."""
        if not self.terminal:
            return plain(line)
        if not self.colour:
            return printable_lines(plain(line))
        return "".join([coloured(style, printable_lines(text)) for style, text in line])

    def write(self, lines: Iterable[Line], *, pager: str = "") -> None:
        """Write lines to standard output, on a terminal through the pager if they do not fit the screen.

        Args:
            pager: its command line; "" for none.
        """
        texts = (self.text_of(line) for line in lines)
        if pager and self.terminal and not is_dumb():
            _through_pager(texts, self, pager)
            return
        try:
            write_lines(self.out, texts, every_line=self.terminal)
        except BrokenPipeError:
            _close_broken(self.out)

    def write_to(self, redirect: Redirect, lines: Iterable[Line]) -> None:
        """Write lines to a program or a file.

        Raises:
            CommandFailed: the program or file cannot be written to, or the program failed.
        """
        texts = (plain(line) for line in lines)
        if redirect.program:
            _through_program(texts, self, redirect.program)
        elif redirect.path is not None:
            with open_result_file(redirect.path, append=redirect.append) as file:
                write_lines(file, texts)


def write_lines(file: IO[str], texts: Iterable[str], *, every_line: bool = False) -> None:
    """Write lines; each at once, or some together."""
    waiting: list[str] = []
    try:
        for text in texts:
            waiting.append(text)
            if every_line or len(waiting) >= FLUSH_LINES:
                together, waiting = waiting, []
                file.write("\n".join(together) + "\n")
    finally:
        # What came before a failure is shown too.
        if waiting:
            file.write("\n".join(waiting) + "\n")
        file.flush()


def _close_broken(file: TextIO) -> None:
    """Keep Python from complaining at exit that nobody reads standard output any more."""
    if file is sys.stdout:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, file.fileno())
        os.close(null)


def _through_pager(texts: Iterable[str], output: Output, pager: str) -> None:
    """Show what fits the screen directly, more through the pager."""
    columns, height = output.size
    source, head, used = iter(texts), [], 0
    for text in source:
        head.append(text)
        used += 1 + len(text) // max(columns, 1)
        if used >= height - 2:
            break
    else:
        write_lines(output.out, head, every_line=True)
        return
    command = shlex.split(pager)
    if not command or shutil.which(command[0]) is None:
        write_lines(output.out, _chained(head, source), every_line=True)
        return
    output.out.flush()
    # As git does: a pager that is just `less` shows colours, and leaves what fits on the screen.
    environment = {"LESS": "FRX", **os.environ, "LESSSECURE": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, text=True, errors="surrogateescape", env=environment
    ) as child:
        _feed(child, _chained(head, source), keeps_terminal=True)


def _chained(head: list[str], source: Iterator[str]) -> Iterator[str]:
    yield from head
    yield from source


def _through_program(texts: Iterable[str], output: Output, program: str) -> None:
    """Give lines to a program; what it prints goes where results go."""
    output.out.flush()
    with ExitStack() as stack:
        stdout: IO[bytes] | None = None
        if output.out is not sys.__stdout__:
            stdout = stack.enter_context(TemporaryFile())
        child = subprocess.Popen(
            program, shell=True, stdin=subprocess.PIPE, stdout=stdout, text=True, errors="surrogateescape"
        )
        with child:
            _feed(child, texts, keeps_terminal=False)
        if stdout is not None:
            stdout.seek(0)
            output.out.write(stdout.read().decode(errors="replace"))
    if child.returncode:
        raise CommandFailed(f"{program} ended with status {child.returncode}")


def _feed(child: subprocess.Popen[str], texts: Iterable[str], *, keeps_terminal: bool) -> None:
    """Write to a program until it has all, or wants no more, or Ctrl-C; then close its input.

    Args:
        keeps_terminal: wait for the program's end, for people go on reading what it got.
    """
    stdin = child.stdin
    if stdin is None:
        return
    try:
        write_lines(stdin, texts)
    except BrokenPipeError:
        pass
    finally:
        with _undisturbed():
            try:
                stdin.close()
            except BrokenPipeError:
                pass
            if keeps_terminal:
                child.wait()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave Ctrl-C to the program that has the terminal."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread: signals do not come here
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def open_result_file(path: Path, *, append: bool = False) -> Iterator[IO[str]]:
    """A file for a result. A new one takes its name only when all is written; a failure leaves the old one.

    Raises:
        CommandFailed: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8", errors="surrogateescape") if append else whole_file(path) as file:
            yield file
    except BrokenPipeError:
        pass  # a named pipe whose reader has had enough
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror or error}") from None
