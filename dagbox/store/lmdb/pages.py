"""Checks of the pages of a data file that do not make LMDB follow them.

LMDB trusts its file: a page number beyond the end of the file ends the process with SIGBUS, and a page of the wrong
kind may end it with SIGABRT. So a file in doubt is checked first, with plain reads.
"""

from __future__ import annotations

import os
from pathlib import Path

import lmdb
import lmdb.verify

from dagbox.store.lmdb.errors import from_lmdb
from dagbox.store.lmdb.files import DATA_FILE
from dagbox.store.lmdb.opening import follow_resizes, open_environment

_ATTEMPTS = 5


def structure_problems(path: str) -> list[str]:
    """Return the problems of the pages of a store that this process does not have open; commits may go on meanwhile.

    Raises:
        StoreUnavailable: it cannot be opened.
    """
    env = open_environment(path, map_size=0, readonly=True)
    try:
        return _page_problems(path, env)
    except lmdb.Error as error:
        raise from_lmdb(path, error) from None
    finally:
        env.close()


def _page_problems(path: str, env: lmdb.Environment) -> list[str]:
    data = Path(path, DATA_FILE)
    for _ in range(_ATTEMPTS):
        before = _head(data)
        # While there is a reader, no commit reuses the pages that the last one refers to.
        with follow_resizes(env, env.begin):
            problems = _walk(path)
        if not problems or _head(data) == before:
            break
    return problems


def is_cut_short(path: str, env: lmdb.Environment, page_size: int) -> bool:
    """Return True if the file ends before the last page that was ever used, and lacks pages that are in use.

    Args:
        env: used by no other thread.
    """
    used = (int(env.info()["last_pgno"]) + 1) * page_size
    # Pages that a commit took and did not need may be missing from a sound file.
    return Path(path, DATA_FILE).stat().st_size < used and bool(_page_problems(path, env))


def _walk(path: str) -> list[str]:
    try:
        return list(lmdb.verify.verify(path))  # type: ignore[no-untyped-call]
    except lmdb.verify.VerifyError as error:
        return [str(error)]


def _head(data: Path) -> bytes:
    """Return LMDB's two meta pages: every commit changes one of them."""
    with data.open("rb") as file:
        return file.read(2 * os.sysconf("SC_PAGE_SIZE"))
