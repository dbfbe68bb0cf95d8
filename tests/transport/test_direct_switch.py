"""The switch of direct reads, as brokers and clients have it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dagbox.errors import StoreUnavailable
from dagbox.transport import direct_switch
from dagbox.transport.direct_switch import OFF, STATE, SWITCH_FILE, DirectSwitch, told_store, view_switch


def test_it_is_off_at_first_and_a_change_is_seen_at_once(tmp_path: Path) -> None:
    switch = DirectSwitch(tmp_path)
    view = view_switch(tmp_path)
    assert view is not None
    states = [view[STATE]]
    for allowed in (True, False, True):
        switch.set(allowed)
        states.append(view[STATE])
    switch.close()
    switch.close()
    assert [*states, view[STATE]] == [OFF, 1, OFF, 1, OFF]
    assert view_switch(tmp_path) is None


def test_each_start_after_a_death_has_another_number(tmp_path: Path) -> None:
    """Whoever has the file of a broker that was killed sees the next one's number, in the same place."""
    first = DirectSwitch(tmp_path)
    first.set(True)
    view = view_switch(tmp_path)
    assert view is not None
    seen = [view[STATE]]
    for _ in range(300):  # more than there are numbers
        second = DirectSwitch(tmp_path)
        assert view[STATE] == OFF
        second.set(True)
        assert view[STATE] not in (OFF, seen[-1])
        seen.append(view[STATE])
    assert set(seen) == set(range(1, 256))


@pytest.mark.parametrize("damage", ["missing", "short", "other magic", "link", "directory"])
def test_what_is_no_switch_is_none(tmp_path: Path, damage: str) -> None:
    path = tmp_path / SWITCH_FILE
    DirectSwitch(tmp_path).set(True)
    content = path.read_bytes()
    path.unlink()
    if damage == "short":
        path.write_bytes(content[:-1])
    elif damage == "other magic":
        path.write_bytes(b"xxxx" + content[4:])
    elif damage == "link":
        (tmp_path / "real").write_bytes(content)
        path.symlink_to(tmp_path / "real")
    elif damage == "directory":
        path.mkdir()
    assert view_switch(tmp_path) is None


def test_a_switch_of_another_machine_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DirectSwitch(tmp_path).set(True)
    assert view_switch(tmp_path) is not None
    monkeypatch.setattr(direct_switch, "_boot_id", lambda: bytes(16))
    assert view_switch(tmp_path) is None


def test_where_the_boot_is_not_told_it_stays_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_switch, "_boot_id", lambda: None)
    switch = DirectSwitch(tmp_path)
    switch.set(True)
    assert (tmp_path / SWITCH_FILE).read_bytes()[STATE] == OFF


def test_a_switch_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="run/direct"):
        DirectSwitch(tmp_path)


def test_it_is_private(tmp_path: Path) -> None:
    DirectSwitch(tmp_path)
    assert os.stat(tmp_path / SWITCH_FILE).st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "run").st_mode & 0o777 == 0o700


@pytest.mark.parametrize("identity", [None, (2**63, 2**64 - 1)])
def test_it_tells_the_store_that_is_served(tmp_path: Path, identity: tuple[int, int] | None) -> None:
    DirectSwitch(tmp_path, identity)
    view = view_switch(tmp_path)
    assert view is not None
    assert told_store(view) == identity
