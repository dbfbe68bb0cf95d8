"""One lock table per directory: real processes, killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dagbox.errors import InUse, StoreUnavailable
from dagbox.services.lock.authority import LockAuthority

_HOLDER = """
import sys
from dagbox.services.lock.authority import LockAuthority
authority = LockAuthority.take(sys.argv[1])
print("taken", flush=True)
sys.stdin.read()
"""


def test_the_second_one_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with LockAuthority.take(tmp_path) as authority:
        assert authority.held
        with pytest.raises(InUse, match=f"a lock authority .process {os.getpid()}.") as refused:
            LockAuthority.take(tmp_path)
        assert refused.value.pid == os.getpid()
    assert not authority.held
    authority.release()
    LockAuthority.take(tmp_path).release()


def test_a_killed_process_gives_it_back(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"taken\n"
        with pytest.raises(InUse) as refused:
            LockAuthority.take(tmp_path)
        assert refused.value.pid == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
    LockAuthority.take(tmp_path).release()


def test_a_forked_child_neither_has_it_nor_keeps_it(tmp_path: Path) -> None:
    authority = LockAuthority.take(tmp_path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"n" if not authority.held else b"y")
        authority.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"n"
    os.close(reader)
    os.close(writer)
    with pytest.raises(InUse):
        LockAuthority.take(tmp_path)
    authority.release()
    LockAuthority.take(tmp_path).release()


def test_a_directory_that_is_not_there_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        LockAuthority.take(tmp_path / "none")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("how", ["keep", "try_turn"])
def test_one_that_is_not_had_in_the_end_is_left_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, error: BaseException
) -> None:
    """The disk is full, or a signal handler raises, between the lock and what it says of it."""

    def fail(*args: object) -> int:
        raise error

    authority = LockAuthority(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        with pytest.raises(StoreUnavailable if isinstance(error, OSError) else KeyboardInterrupt):
            getattr(authority, how)()
    authority.end_turn()
    assert not authority.held
    LockAuthority.take(tmp_path).release()
    authority.release()


def test_one_that_was_kept_is_given_back_though_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    authority = LockAuthority.take(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        authority.keep_no_more()
    LockAuthority.take(tmp_path).release()
    authority.release()


def test_one_that_cannot_be_taken_leaves_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(StoreUnavailable):
        LockAuthority.take(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
