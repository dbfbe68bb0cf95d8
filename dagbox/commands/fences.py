"""Fences on the command line: `KEY=TOKEN`, or `KEY` with the token that `dagbox lock` passes to its command."""

from __future__ import annotations

import os
from typing import Any

import click

from dagbox.commands.options import Kind
from dagbox.text.numbers import whole_number

TOKEN_VARIABLE = "DAGBOX_LOCK_TOKEN"


class Fence(Kind):
    """`KEY=TOKEN`, or `KEY`; converts to (key, token)."""

    name = "key[=token]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        key, sign, token = value.rpartition("=")
        if not sign:
            key, token = value, os.environ.get(TOKEN_VARIABLE, "")
            if not token:
                self.fail(f"{value!r} has no token: write KEY=TOKEN, or run under dagbox lock", param, ctx)
        number = whole_number(token)
        if not key or number is None:
            self.fail(f"{value[:100]!r} is not KEY=TOKEN with a whole number as token", param, ctx)
        return key, number


FENCE = Fence()


def fence_pairs(fences: tuple[tuple[str, int], ...]) -> list[tuple[str, int]] | None:
    """Return the fences as the client expects them; None for none."""
    return list(fences) or None
