"""The switch of direct reads: a file through which a broker tells clients whether they may read the store themselves.

Rules:

1. The broker writes it in place, so that whoever has it mapped sees a change at once, without a message. It is never
   made shorter, and only the process with the broker's role writes it.
2. Its state is 0 while reads are for the broker, else the number of this start of the broker, 1 to 255. A client that
   finds another number than before looks at the files anew: they may have been replaced while no broker ran.
3. A broker that ends says 0 and removes the file. One that is killed leaves its number: the records are still right,
   and its successor has another number.
4. It tells the store that the broker's workers serve, so that nothing else is read that got its name meanwhile.
5. It counts on the machine it was written on only, which the id of the boot tells: a network's file system shows the
   directory elsewhere, where the store must not be opened.

Layout: 4 bytes of magic, the state, the number of the last start, 2 bytes left free, 16 bytes of boot id, device and
inode of the store's data file (8 bytes each, big endian; 0 if it is not known).
"""

from __future__ import annotations

import mmap
import os
import struct
import uuid
from pathlib import Path

from dagbox.errors import StoreUnavailable
from dagbox.text.files import make_private_directory, private

SWITCH_FILE = "run/direct"
OFF = 0
STATE = 4
"""Place of the state in the file."""
_MAGIC = b"dbxd"
_START = 5
_BOOT = 8
_STORE = 24
_BYTES = 40
_STARTS = 255
_identity = struct.Struct(">QQ")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _boot_id() -> bytes | None:
    """Return the 16 bytes that tell this run of the machine from all others; None where it is not told."""
    try:
        return uuid.UUID(_BOOT_ID.read_text().strip()).bytes
    except (OSError, ValueError):
        return None


class DirectSwitch:
    """The switch as its broker has it, off at first.

    Args:
        directory: that of the node.
        identity: device and inode of the data file that the workers serve; None: whatever is there.

    Raises:
        StoreUnavailable: the file cannot be made.
    """

    def __init__(self, directory: str | os.PathLike[str], identity: tuple[int, int] | None = None) -> None:
        self._path = Path(directory, SWITCH_FILE)
        try:
            make_private_directory(self._path.parent)
            descriptor = private(os.fspath(self._path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_size < _BYTES:
                    os.ftruncate(descriptor, _BYTES)
                self._map = mmap.mmap(descriptor, _BYTES)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            raise StoreUnavailable(os.fspath(directory), f"{SWITCH_FILE} cannot be written: {error}") from None
        self._number = self._map[_START] % _STARTS + 1 if self._map[:STATE] == _MAGIC else 1
        boot = _boot_id()
        self._usable = boot is not None
        store = _identity.pack(*(identity or (0, 0)))
        self._map[:] = _MAGIC + bytes((OFF, self._number, 0, 0)) + (boot or bytes(16)) + store

    def set(self, allowed: bool) -> None:
        """Allow direct reads, or have all reads come to the broker from now on."""
        self._map[STATE] = self._number if allowed and self._usable else OFF

    def close(self) -> None:
        """Switch off, and remove the file. Idempotent."""
        if not self._map.closed:
            self.set(False)
            self._map.close()
            self._path.unlink(missing_ok=True)


def view_switch(directory: str | os.PathLike[str]) -> mmap.mmap | None:
    """Return the switch of a directory as a client has it, to look at `[STATE]`.

    None if there is none, or it is not of this machine and this user.
    """
    try:
        descriptor = os.open(Path(directory, SWITCH_FILE), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.getuid() or found.st_size < _BYTES:
            return None
        view = mmap.mmap(descriptor, _BYTES, prot=mmap.PROT_READ)
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
    if view[:STATE] != _MAGIC or view[_BOOT:_STORE] != _boot_id():
        view.close()
        return None
    return view


def told_store(view: mmap.mmap) -> tuple[int, int] | None:
    """Return device and inode of the data file that a switch is about, None if it tells none."""
    device, inode = _identity.unpack(view[_STORE:_BYTES])
    return (device, inode) if inode else None
