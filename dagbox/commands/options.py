"""What subcommands have in common: where they go, how they print, and the kinds of their arguments."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dagbox.config.settings import FORMATS, Settings, load_settings
from dagbox.errors import DagBoxError, StoreUnavailable
from dagbox.protocol.values import Ref, check_bucket, check_key

if TYPE_CHECKING:
    from dagbox.client import Database

    Kind = click.ParamType[Any]
else:
    # Of the versions of click that we run with, the older ones have no generic class here.
    Kind = click.ParamType

Function = TypeVar("Function", bound=Callable[..., Any])

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SETTINGS = "dagbox.settings"


def settings() -> Settings:
    """The settings of this run, read once."""
    meta = click.get_current_context().find_root().meta
    if _SETTINGS not in meta:
        meta[_SETTINGS] = load_settings()
    found: Settings = meta[_SETTINGS]
    return found


def target_of(at: str | None) -> str:
    """Return the directory or address that a command works on: as given, or as configured."""
    return at or settings().at


def directory_of(at: str | None) -> str:
    """Return the directory that a command works on.

    Raises:
        StoreUnavailable: the target is an address.
    """
    target = target_of(at)
    if "://" in target:
        raise StoreUnavailable(target, "this command works on a directory: name one")
    return target


@contextmanager
def open_at(at: str | None, *, timeout: float | None = None, create: bool = False) -> Iterator[Database]:
    """Open the database that a command works on, see `open_target`; what is None is taken from the settings."""
    from dagbox.config.target import open_target

    wait = timeout if timeout is not None else settings().timeout
    with open_target(target_of(at), timeout=wait, durability=settings().durability, create=create) as database:
        yield database


def _default_format(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str:
    return value or settings().format


def _default_timeout(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float:
    return value if value is not None else settings().timeout


class Duration(Kind):
    """A span of time such as `500ms`, `10s`, `2m`, `1h`, `7d`, or a number of seconds; gives seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is not a time such as 500ms, 10s, 2m, 1h or 7d", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


class RecordName(Kind):
    """`BUCKET/KEY`, which gives a ref; with `new`, `BUCKET` or `BUCKET/` too, with an empty key."""

    name = "bucket/key"

    def __init__(self, *, new: bool = False) -> None:
        self.new = new

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ref:
        if isinstance(value, Ref):
            return value
        bucket, _, key = value.partition("/")
        if not key and not self.new:
            self.fail(f"{value!r} is not BUCKET/KEY, such as user/42", param, ctx)
        try:
            return Ref(check_bucket(bucket), check_key(key) if key else "")
        except DagBoxError as error:
            self.fail(error.message, param, ctx)


class Prefix(Kind):
    """`BUCKET` or `BUCKET/PREFIX`; gives the pair."""

    name = "bucket[/prefix]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        bucket, _, prefix = value.partition("/")
        try:
            return check_bucket(bucket), prefix
        except DagBoxError as error:
            self.fail(error.message, param, ctx)


class Json(Kind):
    """A JSON text, `-` for the text on standard input, or `@FILE`; gives the value, with refs, bytes and times."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        from dagbox.notation.json import load
        from dagbox.notation.problems import SyntaxProblem

        text = self._text_of(value, param, ctx)
        try:
            return load(text)
        except SyntaxProblem as problem:
            shown = text if len(text) <= 60 else text[:57] + "..."
            hint = f"; a text is written '\"{text}\"'" if re.fullmatch(r"[\w .-]+", text) else ""
            self.fail(f"{shown!r} is not JSON: {problem}{hint}", param, ctx)

    def _text_of(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            if value == "-":
                return sys.stdin.read()
            if value.startswith("@"):
                return Path(value[1:]).read_text(encoding="utf-8")
        except OSError as error:
            self.fail(f"{value}: {error.strerror}", param, ctx)
        except UnicodeDecodeError:
            self.fail(f"{value}: it is not UTF-8 text", param, ctx)
        return value


DURATION = Duration()
RECORD = RecordName()
NEW_RECORD = RecordName(new=True)
PREFIX = Prefix()
JSON = Json()

format_option = click.option(
    "--format",
    "output",
    type=click.Choice(FORMATS),
    callback=_default_format,
    help="How to print: a table for people, or JSON, one document a line.",
)
timeout_option = click.option(
    "--timeout",
    type=DURATION,
    callback=_default_timeout,
    metavar="TIME",
    help="How long to wait for an answer, such as 500ms, 10s or 2m.  [default: 30s]",
)
at_option = click.option(
    "--at", "-d", metavar="DIR|URL", help="The directory or the address of a node.  [default: DAGBOX_URL, or ./data]"
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do it without asking.")


def place_argument(function: Function) -> Function:
    """Have a subcommand take where it goes as its argument or as `--at`; the function gets `at`."""

    @wraps(function)
    def wrapper(*args: Any, place: str | None, at: str | None, **rest: Any) -> Any:
        if place is not None and at is not None and place != at:
            raise click.UsageError(f"two places: {place} and --at {at}: give one", click.get_current_context())
        return function(*args, at=place if place is not None else at, **rest)

    decorated: Any = click.argument("place", metavar="[DIR|URL]", required=False)(at_option(wrapper))
    result: Function = decorated
    return result


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone.

    Raises:
        click.UsageError: there is nobody to ask, and no `--yes`.
        click.Abort: the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Give --yes to do it", click.get_current_context())
    click.confirm(question, abort=True, err=True)
