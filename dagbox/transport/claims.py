"""The claims of this process, which brokers are told."""

from __future__ import annotations

import os
import platform
import sys

from dagbox.errors import InvalidArgument
from dagbox.protocol.claims import MAX_CLAIM_CHARACTERS, Claims, claim


class Identity:
    """A client as it presents itself: made when the client is, told by whatever process it is in.

    Args:
        name: what people are to call it; None: the name of the script, and the id of the process.
        tool: True if it watches or operates the node.

    Raises:
        InvalidArgument: the name is no text, empty, or too long.
    """

    def __init__(self, name: str | None = None, *, tool: bool = False) -> None:
        if name is not None and not _cleaned(claim(name, "name")).strip():
            raise InvalidArgument("the name of a client is not empty: leave it out to have the script's")
        self._name = name
        self._tool = tool

    def claims(self) -> Claims:
        """Return the claims of this process."""
        program = _program()
        name = f"{_short(program)}-{os.getpid()}" if self._name is None else _cleaned(self._name)
        host, program = _cleaned(platform.node()), program[-MAX_CLAIM_CHARACTERS:]
        return Claims(name[-MAX_CLAIM_CHARACTERS:], os.getpid(), host[:MAX_CLAIM_CHARACTERS], program, self._tool)


def _program() -> str:
    """Return the script that this process runs; "python" where it runs none."""
    argv = getattr(sys, "argv", [])
    script = argv[0] if argv else ""
    return "python" if script in ("", "-", "-c", "-m") else _cleaned(os.path.abspath(script))


def _short(program: str) -> str:
    """Return the name of a program without directories and `.py`; a package that is run is called by its own name."""
    directory, name = os.path.split(program)
    return os.path.basename(directory) if name == "__main__.py" else name.removesuffix(".py")


def _cleaned(text: str) -> str:
    """Return text that MessagePack can carry: names of files may be no Unicode."""
    return text.encode(errors="backslashreplace").decode()
