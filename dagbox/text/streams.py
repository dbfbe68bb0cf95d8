"""The standard streams of a program: what is written to them never fails for its characters, nor is it acted on.

Rules:

1. Text for people leaves a program by `print_line`, `note` and `report`: others' text in it cannot command a terminal,
   and one text is one line.
2. An error looks alike at every way out: `dagbox: error: ...`.
"""

from __future__ import annotations

import codecs
import os
import sys
from io import TextIOWrapper

from dagbox.text.terminal import one_line, printable, supports_colour

ESCAPING = "dagbox.escape"
"""The name of the error handler: a character that a stream's encoding lacks is written as JSON writes it."""

_ERROR = "dagbox: error:"


def print_line(text: str) -> None:
    """Write a line for people to standard output."""
    sys.stdout.write(printable(text) + "\n")


def note(text: str) -> None:
    """Write a line for people to standard error, which is not data."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def report(text: str) -> None:
    """Write one line about an error to standard error."""
    label = f"\x1b[31m{_ERROR}\x1b[0m" if supports_colour(sys.stderr) else _ERROR
    sys.stderr.write(f"{label} {one_line(text)}\n")
    sys.stderr.flush()


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    r"""Return `é` as `\u00e9`, which is valid in JSON too; for a surrogate of a path the byte that it stands for."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    out = b""
    for char in error.object[error.start : error.end]:
        number = ord(char)
        if 0xDC80 <= number <= 0xDCFF:
            out += bytes((number - 0xDC00,))
        elif number > 0xFFFF:
            units = char.encode("utf-16-be").hex()
            out += f"\\u{units[:4]}\\u{units[4:]}".encode()
        else:
            out += f"\\u{number:04x}".encode()
    return out, error.end


def prepare_standard_streams() -> None:
    """Prepare standard input, output and error of this process.

    One that is closed is the null device: who closes it does not want to see it. Output escapes what its encoding
    lacks. Input that is taken for ASCII is taken for UTF-8, of which that is a part; bytes that are no text become
    surrogates, as in arguments, and are refused where a text is needed.
    """
    codecs.register_error(ESCAPING, _escape)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # it lives as long as the process
            setattr(sys, name, stream)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=ESCAPING)
    if isinstance(sys.stdin, TextIOWrapper):
        ascii_only = codecs.lookup(sys.stdin.encoding).name == "ascii"
        sys.stdin.reconfigure(encoding="utf-8" if ascii_only else None, errors="surrogateescape")
