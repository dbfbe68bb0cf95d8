"""Options that subcommands share: their target, the database they open, the types of their arguments."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dagbox.errors import DagBoxError, StoreUnavailable
from dagbox.protocol.values import Ref, check_bucket, check_key
from dagbox.settings import FORMATS, Settings, load_settings
from dagbox.text.files import path_of
from dagbox.text.streams import note
from dagbox.text.terminal import printable

if TYPE_CHECKING:
    from dagbox import Database

    Kind = click.ParamType[Any]
else:
    # Older versions of click that we support have no generic class here.
    Kind = click.ParamType

Function = TypeVar("Function", bound=Callable[..., Any])

_SETTINGS = "dagbox.settings"
_TOLD = "dagbox.told"


def settings() -> Settings:
    """Return the settings of this run, which are read once."""
    meta = click.get_current_context().find_root().meta
    found: Settings | None = meta.get(_SETTINGS)
    if found is None:
        found = meta[_SETTINGS] = load_settings()
    return found


def default_target() -> str:
    """Return the configured target, for a command that was given none; where a file that was found leads is told."""
    configured, meta = settings(), click.get_current_context().find_root().meta
    if configured.at_found_in and not meta.get(_TOLD):
        meta[_TOLD] = True
        note(f"dagbox: {configured.at_found_in} leads to {configured.at}")
    return configured.at


def directory_of(target: str | None) -> str:
    """Return the directory that a command works on: as given, or as configured.

    Raises:
        StoreUnavailable: the target is an address.
    """
    from dagbox.config.target import is_address

    directory = target or default_target()
    if is_address(directory):
        raise StoreUnavailable(directory, "this command works on a directory: name one")
    return directory


def open_database(target: str | None, *, timeout: float | None = None, create: bool = False) -> Database:
    """Open the database that a command works on, see `open_target`; settings stand in for what is None."""
    from dagbox.config.target import open_target

    configured = settings()
    return open_target(
        target or default_target(),
        timeout=configured.timeout if timeout is None else timeout,
        durability=configured.durability,
        create=create,
    )


def _default_format(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str:
    return value or settings().format


def _default_timeout(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float:
    return value if value is not None else settings().timeout


class Duration(Kind):
    """A duration such as `500ms`, `10s`, `2m`, `1h`, `7d`, or a number of seconds; converts to seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        from dagbox.text.durations import parse_duration

        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Limit(Kind):
    """A whole number of at least 1: of rows to show at most."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from dagbox.text.limits import read_limit

        try:
            return value if isinstance(value, int) else read_limit(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class RecordName(Kind):
    """`BUCKET/KEY`; converts to a ref. With `new`, `BUCKET` and `BUCKET/` are allowed too: the key is then empty."""

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
    """`BUCKET` or `BUCKET/PREFIX`; converts to the pair."""

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
    """JSON, `-` for the JSON on standard input, or `@./FILE`; converts to the value, with refs, bytes and times."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        from dagbox.notation.json import load
        from dagbox.notation.problems import SyntaxProblem

        text = self._read(value, param, ctx)
        try:
            return load(text)
        except SyntaxProblem as problem:
            excerpt = text if len(text) <= 60 else text[:57] + "..."
            hint = f"; a text is written '\"{text}\"'" if re.fullmatch(r"[\w .-]+", text) else ""
            self.fail(f"{excerpt!r} is not JSON: {problem}{hint}", param, ctx)

    def _read(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            if value == "-":
                text = sys.stdin.read().removeprefix("\ufeff")
                text.encode()
                return text
            if value.startswith("@") and self._names_file(value[1:]):
                return path_of(value[1:]).read_text(encoding="utf-8-sig")
        except OSError as error:
            self.fail(f"{value}: {error.strerror}", param, ctx)
        except UnicodeError:
            self.fail(f"{value}: it is not UTF-8 text", param, ctx)
        return value

    @staticmethod
    def _names_file(text: str) -> bool:
        from dagbox.notation.json import names_file

        return names_file(text)


DURATION = Duration()
LIMIT = Limit()
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
limit_option = click.option("--limit", "-n", type=LIMIT, metavar="N", help="At most this many.")
recent_option = click.option(
    "--limit", "-n", type=LIMIT, default=20, show_default=True, metavar="N", help="At most this many."
)
target_option = click.option(
    "--at",
    "-d",
    "target",
    metavar="DIR|URL",
    help="The directory, or the address of a node.  [default: DAGBOX_URL, or ./data]",
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")


def target_argument(function: Function) -> Function:
    """Let a subcommand take its target as an argument or as `--at`; the function gets `target`."""

    @wraps(function)
    def wrapper(*args: Any, target_argument: str | None, target: str | None, **rest: Any) -> Any:
        if target_argument is not None and target is not None and target_argument != target:
            raise click.UsageError(
                f"two targets: {target_argument} and --at {target}: give one", click.get_current_context()
            )
        return function(*args, target=target if target_argument is None else target_argument, **rest)

    decorated: Any = click.argument("target_argument", metavar="[DIR|URL]", required=False)(target_option(wrapper))
    result: Function = decorated
    return result


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone.

    Raises:
        click.UsageError: standard input is not a terminal, and `--yes` is missing.
        click.Abort: the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Give --yes to do it", click.get_current_context())
    click.confirm(printable(question), abort=True, err=True)
