"""Problems of a text that somebody typed, with their place.

Exception
  SyntaxProblem        the text cannot be read
    Unfinished         more text could still complete it
"""

from __future__ import annotations


class SyntaxProblem(Exception):
    """The text cannot be read.

    Args:
        message: what is wrong, in one line.
        start: where it begins in the text, in characters.
        end: where it ends, exclusive.
    """

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end


class Unfinished(SyntaxProblem):
    """The text is a valid beginning: something is open that more text can close."""
