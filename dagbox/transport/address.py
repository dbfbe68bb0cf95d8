"""Finding a node: the file `node.json` in its directory, and the socket it listens on."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from dagbox.errors import CannotConnect, InvalidArgument, StoreUnavailable
from dagbox.text.files import make_private_directory, private, resolved
from dagbox.text.numbers import whole_number

NODE_FILE = "node.json"
NODE_FORMAT = 1
MAX_SOCKET_PATH_BYTES = 100
"""The longest path of a Unix socket that every system takes (Linux has 107, others 103)."""
_MOST_PATH_BYTES = 103
MOST_PORT = 65_535
SCHEMES = ("ipc", "tcp", "inproc")


def is_url(target: str) -> bool:
    """Return True if a text is an address (`ipc://`, `tcp://`, `inproc://`) and not a directory."""
    return target.partition("://")[0] in SCHEMES and "://" in target


def worker_line(address: str) -> str:
    """Return the address at which a broker that listens at this one has a line for its workers alone.

    It is the same address over TCP, which has one port, and where a path would be too long for the system.
    """
    scheme, _, rest = address.partition("://")
    line = f"{address}.w"
    if scheme == "inproc" or (scheme == "ipc" and len(os.fsencode(rest)) + 2 <= _MOST_PATH_BYTES):
        return line
    return address


def leaves_machine(address: str) -> bool:
    """Return True if an address may be of another machine; also if it only begins like one of this machine."""
    scheme, _, rest = address.partition("://")
    if scheme != "tcp":
        return False
    host = rest.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def check_url(target: str) -> str:
    """The address if it is one that can be used.

    Raises:
        InvalidArgument: an unknown scheme, nothing after it, an abstract socket, or no port that there is.
    """
    scheme, separator, rest = target.partition("://")
    if not separator or scheme not in SCHEMES or not rest:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise InvalidArgument(f"not an address: {target!r}: it begins with one of {known}")
    if scheme == "ipc" and rest.startswith("@"):
        raise InvalidArgument(f"not an address: {target!r}: every user may open an abstract socket, use a path")
    if scheme == "tcp":
        _check_port(rest.rpartition(":")[2], target)
    return target


def _check_port(text: str, target: str) -> None:
    port = whole_number(text)
    if port is None or not text.isascii():
        raise InvalidArgument(f"not an address: {target!r}: a port is missing, as in tcp://HOST:PORT")
    if port > MOST_PORT:  # ZeroMQ would take its last 16 bits
        raise InvalidArgument(f"not an address: {target!r}: the highest port is {MOST_PORT}")


def socket_address(directory: str | os.PathLike[str]) -> str:
    """The address that the node of a directory listens on; the directory of the socket is made, for its owner only.

    It lies in the node's directory if the path is short enough, else in one for the user under the
    system's temporary directory.

    Raises:
        StoreUnavailable: no directory for it can be made that belongs to the user alone.
    """
    try:
        real = resolved(directory)
    except OSError as error:
        raise StoreUnavailable(str(directory), error.strerror or str(error)) from None
    inside = real / "run" / "broker.sock"
    if len(os.fsencode(inside)) <= MAX_SOCKET_PATH_BYTES:
        return f"ipc://{_private(inside.parent) / inside.name}"
    import tempfile  # no other path needs it, and what it loads takes time at a program's start

    name = hashlib.sha256(os.fsencode(real)).hexdigest()[:24]
    for base in (tempfile.gettempdir(), "/tmp"):
        path = Path(base) / f"dagbox-{os.getuid()}" / f"{name}.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
            return f"ipc://{_private(path.parent) / path.name}"
    raise StoreUnavailable(str(directory), "no directory for its socket has a path that is short enough: set TMPDIR")


def _private(directory: Path) -> Path:
    """Make a directory, or take the one there is, if it is the user's own and closed to others."""
    try:
        make_private_directory(directory)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise StoreUnavailable(str(directory), "it must be a directory of the user who runs the node")
        if found.st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise StoreUnavailable(str(directory), error.strerror or str(error)) from None
    return directory


def write_node_file(directory: str | os.PathLike[str], address: str, **more: Any) -> Path:
    """Make a node known: `{"address", "pid", "format"}` and `more`, whole or not at all.

    Returns:
        The path of the file.

    Raises:
        StoreUnavailable: it cannot be written.
    """
    path = Path(directory) / NODE_FILE
    text = json.dumps({"address": address, "pid": os.getpid(), "format": NODE_FORMAT} | more, indent=1)
    part = path.with_name(f"{NODE_FILE}.{os.getpid()}")
    try:
        with open(part, "w", encoding="utf-8", opener=private) as file:
            file.write(text + "\n")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreUnavailable(str(directory), error.strerror or str(error)) from None
    return path


def read_node_file(directory: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what the node of a directory wrote; None if there is no such file, or it is no such map."""
    try:
        found = json.loads((Path(directory) / NODE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("address"), str) else None


def node_process_lives(found: dict[str, Any]) -> bool:
    """Return True if the process that wrote a node file is alive, or may be; it may still not answer."""
    try:
        os.kill(int(found.get("pid") or 0), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError, ValueError, TypeError):
        return True
    return True


def remove_node_file(directory: str | os.PathLike[str], address: str) -> None:
    """Take the file away if it still names this address."""
    found = read_node_file(directory)
    if found is not None and found["address"] == address:
        (Path(directory) / NODE_FILE).unlink(missing_ok=True)


def node_address(directory: str | os.PathLike[str]) -> str:
    """The address of the node that serves a directory; whether it lives is seen by connecting.

    Raises:
        CannotConnect: no node has been started there, its file is damaged or of a later version, or leads to another
            machine, as no node writes it.
    """
    shown = os.fspath(directory)
    if Path(directory).is_file():
        raise CannotConnect(str(shown), "it is a file, not a directory")
    if not Path(directory).is_dir():
        raise CannotConnect(str(shown), f"there is no such directory: start a node with: dagbox up {shown}")
    found = read_node_file(directory)
    if found is None:
        raise CannotConnect(str(shown), f"no node is running there: start one with: dagbox up {shown}")
    if found.get("format") != NODE_FORMAT:
        raise CannotConnect(str(shown), f"its node is of another version of DagBox (format {found.get('format')!r})")
    address = str(found["address"])
    try:
        check_url(address)
    except InvalidArgument as error:
        raise CannotConnect(str(shown), f"its {NODE_FILE} has no usable address: {error.message}") from None
    if leaves_machine(address):
        reason = f"its {NODE_FILE} leads to another machine: if you mean that, connect to {address}"
        raise CannotConnect(str(shown), reason)
    return address


def direct_directory(target: str | os.PathLike[str] | None) -> str | None:
    """Return the directory that a target names, None if it is an address: a node elsewhere has no files here."""
    named = os.environ.get("DAGBOX_URL") if target is None else target
    if not isinstance(named, str | os.PathLike) or (isinstance(named, str) and "://" in named):
        return None
    path = os.fspath(named)
    return path if isinstance(path, str) and path else None


def resolve(target: str | os.PathLike[str] | None) -> str:
    """The address to connect to.

    Args:
        target: a directory, an address, or None for the environment's DAGBOX_URL.

    Raises:
        CannotConnect: there is no node.
        InvalidArgument: no target, or not an address.
    """
    if target is None:
        target = os.environ.get("DAGBOX_URL")
        if not target:
            raise InvalidArgument(
                "connect to what? give a directory or an address, set DAGBOX_URL, or `at` in dagbox.toml"
            )
    text = os.fspath(target)
    if not isinstance(text, str) or not text:
        raise InvalidArgument(f"not a directory or an address: {text!r}")
    return check_url(text) if "://" in text else node_address(text)
