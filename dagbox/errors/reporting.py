"""Errors as the programs of dagbox report them: one line to standard error, and an exit status.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 cannot connect, 130 interrupted.
"""

from __future__ import annotations

import click

from dagbox.errors.arguments import BadSetting, UnknownSetting
from dagbox.errors.base import DagBoxError
from dagbox.errors.requests import CannotConnect
from dagbox.text.streams import note, report

DONE, FAILED, WRONG_USAGE, NO_CONNECTION, INTERRUPTED = 0, 1, 2, 3, 130


def report_error(error: Exception) -> int:
    """Write one line about the error to standard error, and return the exit status."""
    status = FAILED
    if isinstance(error, click.ClickException):
        status = error.exit_code
        text = error.format_message().strip()
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        text += f" (see {path} --help)" if path else ""
    elif isinstance(error, DagBoxError):
        text = error.message
        if isinstance(error, CannotConnect):
            status = NO_CONNECTION
        elif isinstance(error, UnknownSetting | BadSetting):
            status = WRONG_USAGE
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = f"{type(error).__name__}: {error} (this is a fault of dagbox; DAGBOX_DEBUG=1 shows where)"
    report(text)
    for line in getattr(error, "snippet", "").splitlines():
        # The position in a rule or goal, with a caret below it: a tab must stay as wide as the caret's line has it.
        note(f"  {line.replace(chr(9), ' ')}")
    return status
