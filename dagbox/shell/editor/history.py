"""The history of commands: a file in the platform's state directory, without secrets.

What is not kept: a command that begins with a space, and one that seems to hold a password, token or key. In the
running shell the arrow keys find them all the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from dagbox.text.files import make_private_directory

MOST_BYTES = 2_000_000
"""A longer file is cut to its later half when the shell starts."""
MOST_COMMAND_BYTES = 20_000
"""A longer command is not kept."""

_SECRET = re.compile(
    r"""(?ix)
    (?: passw(?:or)?[dt] | passphrase | passcode | pwd | secret | credential | bearer | private[_-]?key
      | (?: api | access | signing | encryption | ssh | master | service | account )[\s_-]?key
      | (?: auth | access | refresh | id | session | csrf | bot | oauth )[_-]?token )
    s? (?: [^a-z] | (?-i:[A-Z]) | (?: hash | value | id ) \b | $ )
    | \bauthorization\b | \b(?:set-)?cookie["']?\s*: | \bBasic\s+[0-9A-Za-z+/]{8,}={0,2}(?![^"'\s])
    | :// [^\s/@:"']* : [^\s/@]+ @                  # a password in a URL
    | :// [^\s/@:"']{8,} @                          # a token in its place
    | [?&][\w-]*(?: token | key | sig | signature | code )=
    | \s(?: -u | --user )[\s=]+\S+:\S               # of curl
    | \bmysql\w*\s(?:.*\s)?-p\S                     # of mysql
    | -----BEGIN
    | \b (?: AKIA | ASIA ) [0-9A-Z]{16} \b | \b gh[pousr]_ [0-9A-Za-z]{20,} | \b github_pat_ \w{16,}
    | \b glpat- [\w-]{16,} | \b npm_ \w{30,} | \b pypi- [\w-]{16,} | \b AIza [\w-]{30,}
    | \b SG\. [\w-]{16,} \. [\w-]{16,}
    | \b (?: xox[a-z] | xapp ) - [0-9A-Za-z-]{10,} | \b hooks\.slack\.com/services/
    | \b [rsp]k[_-] [0-9A-Za-z_-]{16,} | \b eyJ [0-9A-Za-z_-]{8,} \. eyJ [0-9A-Za-z_-]{8,} \.
    | ["'{,] \s* (?: [\w-]* tokens? | pin(?:[_-]?code)? | cvv | cvc | ssn | pass | pw | auth | t?otp ) ["']? \s* :
    """
)


def is_secret(text: str) -> bool:
    """Return True if a command is not to be kept."""
    return text.startswith(" ") or len(text) > MOST_COMMAND_BYTES or _SECRET.search(text) is not None


class CommandHistory(FileHistory):
    """History in a file that only its owner can read; it does without the file if that cannot be written."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._last = ""

    def store_string(self, string: str) -> None:
        """Keep a command, unless it is a secret or the same as the one before."""
        if is_secret(string) or string == self._last:
            return
        self._last = string
        try:
            super().store_string(string)
        except OSError:
            # A full disk must not end the shell; the command stays in memory.
            return


def open_history() -> History:
    """The history of this user; one in memory if there is no place for a file."""
    from platformdirs import user_state_path

    path = user_state_path("dagbox") / "shell_history"
    try:
        make_private_directory(path.parent)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        path.chmod(0o600)
        _shorten(path)
    except OSError:
        return InMemoryHistory()
    return CommandHistory(path)


def _shorten(path: Path) -> None:
    """Cut a long file to its later half, at the beginning of an entry."""
    if path.stat().st_size <= MOST_BYTES:
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    later = text[len(text) // 2 :]
    part = path.with_suffix(".part")
    part.write_text(later[later.find("\n# ") :], encoding="utf-8")
    part.chmod(0o600)
    part.replace(path)


def newest_first(history: History) -> Iterator[str]:
    """The commands, the latest first."""
    return iter(history.get_strings()[::-1])
