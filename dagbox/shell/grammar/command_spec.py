"""The command table: what a command is, as data.

A `CommandSpec` is a row: its name, what it takes, what it does, and the function that does it. Parsing, completion,
highlighting, hints, help, confirmation, read-only mode and `docs/shell.md` all read the same rows (`catalog.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from importlib import import_module
from typing import Any


class Kind(StrEnum):
    """The sorts of things that commands take; `parse.py` reads each, `complete.py` proposes each."""

    REF = "ref"
    TARGET = "target"
    PREFIX = "prefix"
    BUCKET = "bucket"
    RELATIONS = "relations"
    VALUE = "value"
    LOCK = "lock"
    FACTS = "facts"
    PREDICATE = "predicate"
    RULE = "rule"
    RULE_ID = "rule-id"
    QUERY = "query"
    QUERY_ID = "query-id"
    GOAL = "goal"
    SERVICE = "service"
    WORKER = "worker"
    TRACE = "trace"
    COMMAND = "command"
    TOPIC = "topic"
    SETTING = "setting"
    SETTING_VALUE = "setting-value"
    FILE = "file"
    TEXT = "text"
    NUMBER = "number"
    COUNT = "count"
    DURATION = "duration"
    FIELDS = "fields"
    CHOICE = "choice"


REST = frozenset({Kind.COMMAND, Kind.RULE, Kind.QUERY, Kind.GOAL, Kind.FACTS})
"""Kinds that read on as far as they can, over several words."""


@dataclass(frozen=True, slots=True)
class Param:
    """Something that a command takes by its position.

    Args:
        name: the name of the function's argument.
        kind: what it is.
        shown: how signatures write it; by default the name in capitals.
        optional: whether it may be absent; the function then gets None (or an empty list).
        many: whether it may be repeated; the function then gets a list.
    """

    name: str
    kind: Kind
    shown: str = ""
    optional: bool = False
    many: bool = False

    @property
    def label(self) -> str:
        """As a signature writes it: `REF...`, `[VALUE]`."""
        text = (self.shown or self.name.upper().replace("_", "-")) + ("..." if self.many else "")
        return f"[{text}]" if self.optional else text


@dataclass(frozen=True, slots=True)
class Option:
    """Something that a command takes by name.

    Args:
        name: without the dashes; the function's argument has underscores for dashes.
        help: one line.
        kind: what its value is; None is a flag, which has no value.
        shown: how signatures write the value.
        choices: the values there are, for Kind.CHOICE.
    """

    name: str
    help: str
    kind: Kind | None = None
    shown: str = ""
    choices: tuple[str, ...] = ()

    @property
    def argument(self) -> str:
        """The name of the function's argument."""
        return self.name.replace("-", "_")

    @property
    def label(self) -> str:
        """As a signature writes it: `--limit N`."""
        if self.kind is None:
            return f"--{self.name}"
        return f"--{self.name} {self.shown or '|'.join(self.choices) or self.name.upper()}"


FORMATS = ("tree", "table", "json", "raw")
FORMAT = Option("format", "how to show the result: " + ", ".join(FORMATS), Kind.CHOICE, choices=FORMATS)
YES = Option("yes", "do it without asking")


@dataclass(frozen=True)
class CommandSpec:
    """A row of the table.

    Args:
        name: what one types.
        group: the heading it stands under in `help`.
        summary: what it does, in one line.
        run: "module:function" below `dagbox.shell.handlers`; imported when the command runs first.
        params: what it takes by position, in order.
        options: what it takes by name.
        details: more, as paragraphs, for `help NAME`.
        examples: commands with what they do.
        aliases: other names.
        writes: it changes the store; refused when the shell is read-only.
        danger: "module:function" that says in one sentence what would be lost, or None if nothing would.
        batches: it can be collected by `batch`.
        paged: a long result may go through the pager.
    """

    name: str
    group: str
    summary: str
    run: str
    params: tuple[Param, ...] = ()
    options: tuple[Option, ...] = ()
    details: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    aliases: tuple[str, ...] = ()
    writes: bool = False
    danger: str = ""
    batches: bool = False
    paged: bool = True

    @cached_property
    def all_options(self) -> tuple[Option, ...]:
        """Its own options, and those that all commands or all dangerous ones have."""
        return (*self.options, *((YES,) if self.danger else ()), FORMAT)

    @cached_property
    def option_defaults(self) -> tuple[tuple[str, bool | None], ...]:
        """The argument of each option, and its value where the option is not given."""
        return tuple((option.argument, False if option.kind is None else None) for option in self.all_options)

    @cached_property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """The signature in parts: (name of the parameter or "", text)."""
        own = [(param.name, param.label) for param in self.params]
        options = [(option.argument, f"[{option.label}]") for option in self.all_options if option is not FORMAT]
        return (("", self.name), *own, *options)

    @property
    def signature(self) -> str:
        """The usage of the command: `get REF... [{ RELATIONS }]`."""
        return " ".join(text for _, text in self.parts)

    def option(self, name: str) -> Option | None:
        """The option of that name (without dashes), or None."""
        return next((option for option in self.all_options if option.name == name), None)

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function that does it: `function(shell, **values)`."""
        return _load(self.run)

    @cached_property
    def danger_function(self) -> Callable[..., str | None] | None:
        """The function that says what would be lost; None if the command is harmless."""
        return _load(self.danger) if self.danger else None


def _load(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(import_module(f"dagbox.shell.handlers.{module}"), name)
    return function


@dataclass(frozen=True)
class Catalog:
    """All commands, by name and alias."""

    commands: Sequence[CommandSpec]
    by_name: dict[str, CommandSpec] = field(init=False)

    def __post_init__(self) -> None:
        names: dict[str, CommandSpec] = {}
        for row in self.commands:
            for name in (row.name, *row.aliases):
                if name in names:
                    raise ValueError(f"two commands are called {name}")
                names[name] = row
        object.__setattr__(self, "by_name", names)

    def get(self, name: str) -> CommandSpec | None:
        """The command of that name or alias, in any case of letters."""
        return self.by_name.get(name) or self.by_name.get(name.lower())

    @cached_property
    def groups(self) -> dict[str, list[CommandSpec]]:
        """Heading -> its commands, in the order of the table."""
        groups: dict[str, list[CommandSpec]] = {}
        for row in self.commands:
            groups.setdefault(row.group, []).append(row)
        return groups
