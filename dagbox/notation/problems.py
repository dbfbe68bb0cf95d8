"""What can go wrong inside the shell itself; what goes wrong in the store is a `dagbox.DagBoxError`."""

from __future__ import annotations


class ShellProblem(Exception):
    """A command cannot be done, for a reason that the shell found.

    Args:
        message: one line that names what was wrong and what to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SyntaxProblem(ShellProblem):
    """The text is not a command.

    Args:
        message: what is wrong, in one line.
        start: where it begins in the text, in characters.
        end: where it ends, not included.
    """

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.start = start
        self.end = end


class Unfinished(SyntaxProblem):
    """The text is the beginning of a command: something is open that more text can close."""


class CommandFailed(ShellProblem):
    """The command was understood and could not be done."""


class Declined(CommandFailed):
    """Somebody was asked and said no: nothing was done."""


class LeaveShell(Exception):
    """The user wants to leave.

    Args:
        status: the exit status that was asked for; None keeps what the commands gave.
    """

    def __init__(self, status: int | None = None) -> None:
        super().__init__(status)
        self.status = status
