"""Settings: defaults < dagbox.toml < DAGBOX_* environment < flags. Of them programs take the target only.

    at = "data"              # the default target of commands: a directory or an address            DAGBOX_URL
    format = "table"         # or "json"                                                           DAGBOX_FORMAT
    timeout = 30             # seconds that a command waits for an answer                           DAGBOX_TIMEOUT
    readers = 2              # reader processes of `dagbox up`                                      DAGBOX_READERS
    logic = 1                # logic processes of `dagbox up`                                       DAGBOX_LOGIC
    listen = []              # further addresses to listen on, such as "tcp://127.0.0.1:7000"       DAGBOX_LISTEN
    durability = "full"      # or "process"                                                         DAGBOX_DURABILITY

The file is `dagbox.toml` in the current directory, or the one that DAGBOX_CONFIG names. One that nobody named may be
anybody's: its `at` may not lead to another machine, and where it leads out of its directory, that is told.
"""

from __future__ import annotations

import math
import os
import tomllib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dagbox.errors import BadSetting, UnknownSetting
from dagbox.protocol.values import Durability
from dagbox.text.files import why_unreadable

FILE_NAME = "dagbox.toml"
FORMATS = ("table", "json")
DURABILITIES = ("full", "process")
MOST_WORKERS = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the command line; the module's docstring explains each."""

    at: str = "data"
    format: str = "table"
    timeout: float = 30.0
    readers: int = 2
    logic: int = 1
    listen: tuple[str, ...] = ()
    durability: Durability = "full"
    at_found_in: str = field(default="", compare=False)
    """The file in the current directory whose `at` leads out of it; empty if there is none."""


def load_settings(environment: Mapping[str, str] | None = None, directory: Path | None = None) -> Settings:
    """Read the settings from file and environment.

    Args:
        environment: None for the environment of the process.
        directory: where to look for `dagbox.toml`; None for the current directory.

    Raises:
        UnknownSetting: the file has a key that is no setting.
        BadSetting: a value that cannot be, or a file that cannot be read.
    """
    environment = os.environ if environment is None else environment
    named = environment.get("DAGBOX_CONFIG")
    values = _from_file(named, directory)
    if "at" in values and not named and not environment.get(VARIABLES["at"]):
        values["at_found_in"] = _check_found(values["at"], str((directory or Path()) / FILE_NAME))
    for name, variable in VARIABLES.items():
        text = environment.get(variable)
        if text:
            values[name] = _checked(name, _from_text(name, text, variable), variable)
    return Settings(**values)


def target_of(given: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """Return the target of a program: the one it gives, or DAGBOX_URL, or `at` of dagbox.toml; None if there is none.

    Warns if a file that nobody named leads out of its directory.

    Raises:
        UnknownSetting, BadSetting: as `load_settings`.
    """
    if given is not None or os.environ.get(VARIABLES["at"]):
        return given
    named = os.environ.get("DAGBOX_CONFIG")
    at: str | None = _from_file(named, None).get("at")
    if at is not None and not named and (found_in := _check_found(at, FILE_NAME)):
        warnings.warn(f"{found_in} leads to {at}: name the target, or set DAGBOX_URL", stacklevel=3)
    return at


def _from_file(named: str | None, directory: Path | None) -> dict[str, Any]:
    path = Path(named) if named else (directory or Path()) / FILE_NAME
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if named:
            raise BadSetting("DAGBOX_CONFIG", named, "there is no such file", "the environment") from None
        return {}
    except (OSError, ValueError) as error:
        raise BadSetting("the file", str(path), f"it cannot be read: {why_unreadable(error)}", str(path)) from None
    for name in found:
        if name not in _CHECKS:
            raise UnknownSetting(name, str(path), get_close_matches(name, _CHECKS, 3), sorted(_CHECKS))
    return {name: _checked(name, value, str(path)) for name, value in found.items()}


def _check_found(at: str, source: str) -> str:
    """Return the file that `at` was found in if it leads out of the file's directory; else nothing.

    Raises:
        BadSetting: it leads to another machine.
    """
    from dagbox.transport.address import is_url, leaves_machine

    if leaves_machine(at):
        reason = "a file that was found, not named, leads to no other machine: set DAGBOX_URL or DAGBOX_CONFIG"
        raise BadSetting("at", at, reason, source)
    out = is_url(at) or os.path.isabs(at) or os.path.normpath(at).split(os.sep)[0] == os.pardir
    return source if out else ""


def _from_text(name: str, text: str, source: str) -> Any:
    """Convert the text of an environment variable to the type that its setting has in the file."""
    kind = {each.name: each.type for each in fields(Settings)}[name]
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
    except ValueError:
        raise BadSetting(name, text, "it is not a number", source) from None
    return [part.strip() for part in text.split(",") if part.strip()] if name == "listen" else text


def _checked(name: str, value: Any, source: str) -> Any:
    reason = _CHECKS[name](value)
    if reason:
        raise BadSetting(name, value, reason, source)
    if name == "listen":
        return tuple(value)
    return float(value) if name == "timeout" else value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        return "it is not a text"
    return "it has a null character, which no path has" if "\0" in value else ""


def _one_of(*allowed: str) -> Callable[[Any], str]:
    return lambda value: "" if value in allowed else f"it is one of {', '.join(allowed)}"


def _seconds(value: Any) -> str:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    return "" if good else "it is a number of seconds above 0"


def _count(least: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST_WORKERS
        return "" if good else f"it is a whole number from {least} to {MOST_WORKERS}"

    return check


def _addresses(value: Any) -> str:
    good = isinstance(value, list) and all(isinstance(item, str) and "://" in item for item in value)
    return "" if good else "it is a list of addresses such as tcp://127.0.0.1:7000"


_CHECKS: dict[str, Callable[[Any], str]] = {
    "at": _text,
    "format": _one_of(*FORMATS),
    "timeout": _seconds,
    "readers": _count(1),
    "logic": _count(0),
    "listen": _addresses,
    "durability": _one_of(*DURABILITIES),
}
VARIABLES = {name: "DAGBOX_URL" if name == "at" else f"DAGBOX_{name.upper()}" for name in _CHECKS}
"""Setting -> its environment variable."""
