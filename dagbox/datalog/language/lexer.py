"""The tokens of a text, for those who show or complete a text that is not whole yet.

They come from the terminals of the grammar in `parser.py`, so a text has the same tokens here as for the parser.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple


class TokenKind(StrEnum):
    """The sorts of tokens."""

    NAME = "name"
    VARIABLE = "variable"
    PARAMETER = "parameter"
    NUMBER = "number"
    TIME = "time"
    STRING = "string"
    KEYWORD = "keyword"
    OPERATOR = "operator"
    IMPLIES = "implies"
    OPEN = "open"
    CLOSE = "close"
    COMMA = "comma"
    DOT = "dot"
    COMMENT = "comment"
    UNKNOWN = "unknown"
    """A character that begins no token; nothing comes after it."""


class Token(NamedTuple):
    """A token and its place in the text, in characters; `end` is exclusive."""

    kind: TokenKind
    text: str
    start: int
    end: int


_KINDS = {
    "NAME": TokenKind.NAME,
    "VARIABLE": TokenKind.VARIABLE,
    "PARAMETER": TokenKind.PARAMETER,
    "NUMBER": TokenKind.NUMBER,
    "TIME": TokenKind.TIME,
    "STRING": TokenKind.STRING,
    "NOT": TokenKind.KEYWORD,
    "DISTINCT": TokenKind.KEYWORD,
    "DECL": TokenKind.KEYWORD,
    "DERIVE": TokenKind.KEYWORD,
    "FROM": TokenKind.KEYWORD,
    "COMPARE": TokenKind.OPERATOR,
    "PLUS": TokenKind.OPERATOR,
    "MINUS": TokenKind.OPERATOR,
    "PRODUCT": TokenKind.OPERATOR,
    "__ANON_0": TokenKind.IMPLIES,
    "LPAR": TokenKind.OPEN,
    "RPAR": TokenKind.CLOSE,
    "COMMA": TokenKind.COMMA,
    "DOT": TokenKind.DOT,
}


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """Yield the tokens of a text, comments among them, one by one.

    A character that begins no token ends them: it comes as the last one, of kind UNKNOWN. So a caller may stop where
    its own language goes on, as the shell does at `| jq`.

    Args:
        start: where to begin in the text.
    """
    from lark import UnexpectedCharacters

    rest = text[start:]
    place, stop = 0, len(rest)
    try:
        for found in _lexer().lex(rest):
            yield from _comments(rest, place, found.start_pos, start)
            place = found.end_pos
            yield Token(_KINDS[found.type], str(found), start + found.start_pos, start + place)
    except UnexpectedCharacters as error:
        stop = error.pos_in_stream or 0
    yield from _comments(rest, place, stop, start)
    if stop < len(rest):
        yield Token(TokenKind.UNKNOWN, rest[stop], start + stop, start + stop + 1)


def _comments(text: str, begin: int, end: int, offset: int) -> Iterator[Token]:
    """Yield the comments in a gap between two tokens; the rest of the gap is white space."""
    while begin < end:
        if text[begin].isspace():
            begin += 1
            continue
        line_end = text.find("\n", begin, end)
        stop = end if line_end < 0 else line_end
        yield Token(TokenKind.COMMENT, text[begin:stop], offset + begin, offset + stop)
        begin = stop


@functools.lru_cache(maxsize=1)
def _lexer() -> Any:
    from lark import Lark

    from dagbox.datalog.language.parser import GRAMMAR

    return Lark(GRAMMAR, parser=None, lexer="basic", start=["program", "goal"])
