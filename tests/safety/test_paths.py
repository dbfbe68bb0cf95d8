"""A directory may have any name that the system allows: everything works in it, by every way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import dagbox
from dagbox.store.maintenance import compact, restore, verify
from tests.runtime.nodes import node_on

NAMES = [
    b"no text \xff\xfe",
    b"two\nlines",
    b"\x1b[31mred",
    b"-x",
    b"100% #1?",
    "ünïcode ♥ \u202e".encode(),
    b"x" * 200,
]


@pytest.fixture(params=NAMES, ids=[repr(name[:12]) for name in NAMES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / os.fsdecode(request.param)


def test_an_embedded_database(place: Path) -> None:
    copy, restored = place.with_name(place.name[:100] + "-copy"), place.with_name(place.name[:100] + "-restored")
    with dagbox.open(place, durability="process") as db:
        db.put("b", 1, key="k")
        with db.lock("l"):
            db.backup(copy)
    assert verify(place).sound
    compact(place)
    restore(copy, restored)
    for directory in (place, restored):
        with dagbox.open(directory) as db:
            assert db.get("b", "k") == 1


def test_a_node(place: Path) -> None:
    with node_on(place), dagbox.connect(place) as db:
        db.put("b", 1, key="k")
        assert db.get("b", "k") == 1
        with db.lock("l"):
            db.backup(place.with_name("copy"))
        assert db.status().broker.addresses
        with pytest.raises(dagbox.DagBoxError, match="exists") as raised:
            db.backup(place)
        assert str(raised.value).isprintable()
    with dagbox.open(place.with_name("copy")) as copy:
        assert copy.get("b", "k") == 1
