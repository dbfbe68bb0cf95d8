"""Looking at the pages of a data file without having LMDB follow them.

LMDB trusts its file: a page number that leads past the end of the file ends the process with SIGBUS, and a page of the
wrong kind may end it with SIGABRT. So whoever has reason to doubt a file looks at its pages first, with plain reads.
"""

from __future__ import annotations

import os
from pathlib import Path

import lmdb
import lmdb.verify

from dagbox.errors import StoreUnavailable
from dagbox.store.lmdb.errors import MAX_READERS, from_lmdb

_ATTEMPTS = 5


def structure_problems(path: str) -> list[str]:
    """What is wrong with the pages of a store that this process does not have open; commits may go on meanwhile.

    Raises:
        StoreUnavailable: it cannot be opened.
    """
    try:
        env = lmdb.open(path, readonly=True, create=False, max_readers=MAX_READERS)
    except lmdb.Error as error:
        if "already open in this process" in str(error):
            raise StoreUnavailable(path, "this process has it open already: use that store") from None
        raise from_lmdb(path, error) from None
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from None
    try:
        return page_problems(path, env)
    except lmdb.Error as error:
        raise from_lmdb(path, error) from None
    finally:
        env.close()


def page_problems(path: str, env: lmdb.Environment) -> list[str]:
    """The same with an environment that is open."""
    data = Path(path, "data.mdb")
    for _ in range(_ATTEMPTS):
        before = _head(data)
        # While there is a reader, no commit uses the pages again that the last one refers to.
        with env.begin():
            problems = _walk(path)
        if not problems or _head(data) == before:
            break
    return problems


def is_cut_short(path: str, env: lmdb.Environment, page_size: int) -> bool:
    """Whether the file ends before the last page that was ever used, and lacks pages that are in use."""
    used = (int(env.info()["last_pgno"]) + 1) * page_size
    # Pages that a commit took and did not need may be missing from a sound file.
    return Path(path, "data.mdb").stat().st_size < used and bool(page_problems(path, env))


def _walk(path: str) -> list[str]:
    try:
        return list(lmdb.verify.verify(path))  # type: ignore[no-untyped-call]
    except lmdb.verify.VerifyError as error:
        return [str(error)]


def _head(data: Path) -> bytes:
    """LMDB's two meta pages: every commit changes one of them."""
    with data.open("rb") as file:
        return file.read(2 * os.sysconf("SC_PAGE_SIZE"))
