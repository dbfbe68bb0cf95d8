"""Settings of the shell, and the file they may be kept in.

`shell.toml` in the platform's configuration directory (on Linux `~/.config/dagbox/shell.toml`) may hold:

    [settings]
    format = "tree"
    editing = "vi"

    [environments.production]
    match = "tcp://db-prod*"     # addresses or directories, with * and ?; a directory by any path that leads to it
    label = "PRODUCTION"
    colour = "red"
    read_only = true
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dagbox.shell.grammar.command_spec import FORMATS
from dagbox.shell.problems import CommandFailed
from dagbox.shell.render.palette import ENVIRONMENT_COLOURS
from dagbox.text.files import why_unreadable

_SWITCH = ("on", "off")


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its name, what it may be, and what it is if nobody says.

    Args:
        choices: the values there are; empty for a number of seconds or a text.
    """

    name: str
    default: str
    help: str
    choices: tuple[str, ...] = ()
    seconds: bool = False


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            "format",
            "auto",
            "how results are shown; auto: trees and tables for people, JSON for programs",
            ("auto", *FORMATS),
        ),
        Setting("pager", "on", "long results go through $PAGER", _SWITCH),
        Setting("timing", "off", "say after each command how long it took", _SWITCH),
        Setting("timeout", "30", "how long a request may take, in seconds", seconds=True),
        Setting("editing", "emacs", "how the keys edit the line", ("emacs", "vi")),
        Setting("completion", "on", "propose while typing; off: with the tab key only", _SWITCH),
        Setting("mouse", "off", "the mouse moves the cursor and selects proposals", _SWITCH),
        Setting("confirm", "on", "destructive commands ask first", _SWITCH),
    )
}


@dataclass(slots=True)
class Settings:
    """The values of all settings."""

    values: dict[str, str] = field(default_factory=lambda: {name: each.default for name, each in SETTINGS.items()})

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def on(self, name: str) -> bool:
        """Return True if a switch is on."""
        return self.values[name] == "on"

    @property
    def timeout_s(self) -> float:
        """Time-out of a request, in seconds."""
        return float(self.values["timeout"])

    def set(self, name: str, value: str) -> None:
        """Change one.

        Raises:
            CommandFailed: there is none of that name, or it may not be that value.
        """
        setting = SETTINGS.get(name)
        if setting is None:
            raise CommandFailed(f"no setting {name}: the settings are {', '.join(SETTINGS)}")
        if setting.choices and value not in setting.choices:
            raise CommandFailed(f"{name} is one of {', '.join(setting.choices)}, not {value}")
        if setting.seconds and not _is_seconds(value):
            raise CommandFailed(f"{name} is a number of seconds above 0, not {value}")
        self.values[name] = value


def _is_seconds(text: str) -> bool:
    try:
        return 0 < float(text) < 1e9
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Environment:
    """The label and colour that tell one node from another.

    Args:
        label: stands before the prompt; "" for none.
        colour: of the label and the prompt.
    """

    label: str = ""
    colour: str = "green"
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """The contents of `shell.toml`."""

    settings: Settings = field(default_factory=Settings)
    environments: tuple[tuple[str, Environment], ...] = ()

    def environment_of(self, *names: str) -> Environment:
        """The environment of the first pattern that one of the names of a place matches."""
        for pattern, environment in self.environments:
            if any(fnmatchcase(name, form) for form in _forms_of(pattern) for name in names):
                return environment
        return Environment()


def _forms_of(pattern: str) -> list[str]:
    """Return what a pattern stands for: as it was written, and for a directory the real path of it too.

    Only `*` and `?` are special; a bracket is a character of the name.
    """
    forms = [pattern]
    if "://" not in pattern:
        path = os.path.expanduser(pattern)
        forms += [os.path.normpath(path), os.path.realpath(path)]
    return [form.replace("[", "[[]") for form in forms]


def configuration_path() -> Path:
    """Return where `shell.toml` is looked for."""
    from platformdirs import user_config_path

    return user_config_path("dagbox") / "shell.toml"


def load_configuration(path: Path) -> Configuration:
    """Read `shell.toml`; a file that is not there says nothing.

    Raises:
        CommandFailed: it cannot be read, or says what it cannot say.
    """
    settings = Settings()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return Configuration(settings)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read {path}: {why_unreadable(error)}") from None
    unknown = set(content) - {"settings", "environments"}
    if unknown:
        raise CommandFailed(f"{path}: no section {', '.join(sorted(unknown))}: there are settings and environments")
    for section in ("settings", "environments"):
        if not isinstance(content.get(section, {}), dict):
            raise CommandFailed(f"{path}: {section} is a section, [{section}], not a value")
    for name, value in content.get("settings", {}).items():
        text = ("on" if value else "off") if isinstance(value, bool) else str(value)
        try:
            settings.set(name, text)
        except CommandFailed as error:
            raise CommandFailed(f"{path}: {error.message}") from None
    return Configuration(settings, tuple(_environments(path, content.get("environments", {}))))


def _environments(path: Path, section: dict[str, Any]) -> list[tuple[str, Environment]]:
    found = []
    for name, entry in section.items():
        if not isinstance(entry, dict):
            raise CommandFailed(f"{path}: {name} is a section, [environments.{name}], not a value")
        unknown = set(entry) - {"match", "label", "colour", "read_only"}
        if unknown or not isinstance(entry.get("match"), str):
            raise CommandFailed(f"{path}: environment {name} needs match, and may have label, colour and read_only")
        colour = entry.get("colour", "green")
        check_colour(colour, f"{path}: environment {name}")
        read_only = entry.get("read_only", False)
        if not isinstance(read_only, bool):
            raise CommandFailed(f"{path}: environment {name}: read_only is true or false, not {read_only!r:.60}")
        label = entry.get("label", name)
        if not isinstance(label, str):
            raise CommandFailed(f"{path}: environment {name}: label is a text, not {label!r:.60}")
        environment = Environment(label, colour, read_only)
        found.append((entry["match"], environment))
    return found


def check_colour(colour: str, where: str) -> str:
    """The colour if an environment may have it. Raises CommandFailed otherwise."""
    if colour not in ENVIRONMENT_COLOURS:
        raise CommandFailed(f"{where}: the colour is one of {', '.join(ENVIRONMENT_COLOURS)}, not {colour}")
    return colour
