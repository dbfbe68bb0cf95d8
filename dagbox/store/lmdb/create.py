"""Making the data file of a new store: there whole, on the disk and under its name, or not there.

LMDB writes the first pages of a new file without a sync. A power loss then may leave a file that it does not take for
one of its own, in a directory that nobody can open. So the file is made under another name, synced, and linked to its
own: of several processes that do this at once one wins, and all use its file.
"""

from __future__ import annotations

import os
from pathlib import Path

import lmdb

from dagbox.store.lmdb.copy import flush_file
from dagbox.store.lmdb.errors import from_lmdb
from dagbox.store.lmdb.files import DATA_FILE

_FIRST_MAP_SIZE = 1 << 16


def make_data_file(directory: Path) -> None:
    """Make the data file of a directory, if there is none.

    Raises:
        OSError: the directory cannot be written.
        StoreError: there is no room, or the disk fails.
    """
    data = directory / DATA_FILE
    if data.exists():
        return
    import shutil  # programs that find a data file start without them
    import tempfile

    work = Path(tempfile.mkdtemp(prefix=".new-", dir=directory))
    try:
        lmdb.open(os.fsencode(work), map_size=_FIRST_MAP_SIZE, mode=0o600).close()
        flush_file(work / DATA_FILE)
        _link(work / DATA_FILE, data)
        flush_file(directory)
        flush_file(directory.parent)
    except lmdb.Error as error:
        raise from_lmdb(os.fspath(directory), error) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _link(made: Path, data: Path) -> None:
    try:
        os.link(made, data)
    except FileExistsError:
        return
    except OSError:
        # A file system without links: LMDB makes the file itself, and what is said above may happen.
        return
