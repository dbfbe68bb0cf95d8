"""The environment of a node, as a badge: production must look different."""

from __future__ import annotations

from dataclasses import dataclass

_ENVIRONMENTS = (
    (("prod", "live"), "#b3123c"),
    (("stag", "pre", "uat"), "#9a6700"),
    (("test", "ci", "qa"), "#1f6f8b"),
    (("dev", "local", "demo"), "#2d7d46"),
)
_OTHER = "#5b4b8a"


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment of a node, and its colour.

    Attributes:
        name: what stands on the badge; "" for none.
        colour: its background, such as "#b3123c".
    """

    name: str = ""
    colour: str = ""

    @classmethod
    def parse(cls, text: str) -> Environment:
        """`NAME` or `NAME=COLOUR`; production is red, staging amber, tests blue, development green.

        Raises:
            ValueError: there is no such colour.
        """
        from textual.color import Color, ColorParseError

        name, _, colour = text.partition("=")
        if colour:
            try:
                return cls(name, Color.parse(colour).hex)
            except ColorParseError:
                raise ValueError(f"no colour {colour!r}: use a name such as red, or #b3123c") from None
        lower = name.casefold()
        for beginnings, known in _ENVIRONMENTS:
            if lower.startswith(beginnings):
                return cls(name, known)
        return cls(name, _OTHER if name else "")
