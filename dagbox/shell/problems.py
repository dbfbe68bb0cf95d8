"""Errors of the shell's commands; errors of the store are `dagbox.DagBoxError`, errors of the text `SyntaxProblem`.

Exception
  CommandFailed        the command was understood and could not be carried out
    Declined           a person was asked for confirmation and said no
  LeaveShell           the user wants to leave; not an error
"""

from __future__ import annotations

from collections.abc import Sequence

import dagbox
from dagbox.text.amounts import plural

NAMED = 5
"""The most records that an error names."""


class CommandFailed(Exception):
    """The command was understood and could not be carried out.

    Args:
        message: one line that names the problem and what to do about it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Declined(CommandFailed):
    """A person was asked for confirmation and said no; nothing was changed."""


class LeaveShell(Exception):
    """The user wants to leave.

    Args:
        status: the requested exit status; None keeps the status of the commands that ran.
    """

    def __init__(self, status: int | None = None) -> None:
        super().__init__(status)
        self.status = status


def told_of(unreadable: Sequence[dagbox.UnreadableRecord]) -> str:
    """Return one line about records that cannot be read, with their names."""
    if len(unreadable) == 1:
        return unreadable[0].message
    names = ", ".join(f"{error.bucket}/{error.key}" for error in unreadable[:NAMED])
    more = ", ..." if len(unreadable) > NAMED else ""
    return f"{plural(len(unreadable), 'record')} cannot be read: {names}{more}"
