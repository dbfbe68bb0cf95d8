"""Clients of real nodes present themselves: by name, or by script and process."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import dagbox
import dagbox.aio
from dagbox.errors import InvalidArgument
from dagbox.transport.claims import Identity
from tests.client.nodes import serving
from tests.runtime.nodes import until


def named(db: dagbox.Database, name: str) -> dagbox.ClientStatus | None:
    return next((client for client in db.clients() if client.name == name), None)


def test_a_name_is_known_once_the_client_is_connected(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as address:
        with dagbox.connect(address, name="the shop") as db, dagbox.connect(address, tool=True) as watcher:
            db.put("b", 1, key="k")
            found = named(watcher, "the shop")
            assert found is not None
            assert (found.pid, found.host, found.tool) == (os.getpid(), platform.node()[:200], False)
            assert (found.done, found.errors, found.in_flight) == (1, 0, 0)
            assert sum(client.tool for client in watcher.clients()) == 1
        with dagbox.connect(tmp_path / "data", name="direct") as db:
            assert named(db, "direct") is not None


def test_the_async_client_has_a_name_too(tmp_path: Path) -> None:
    async def ask(address: str) -> list[str]:
        async with (
            dagbox.aio.connect(address, name="ann") as ann,
            dagbox.aio.connect(tmp_path / "data", name="bob", tool=True),
        ):
            return sorted(client.name for client in await ann.clients())

    with serving(tmp_path / "data") as address:
        assert asyncio.run(ask(address)) == ["ann", "bob"]


def test_a_client_is_known_again_after_the_broker_started_anew(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as address:
        db = dagbox.connect(address, name="the shop")
    with db, serving(tmp_path / "data") as address, dagbox.connect(address, tool=True) as watcher:
        until(lambda: db.get("b", "k", None) is None and named(watcher, "the shop"))


def test_a_script_has_its_name_and_the_process_as_default(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text("import sys, dagbox\nwith dagbox.connect(sys.argv[1]) as db: print(db.clients()[0])\n")
    with serving(tmp_path / "data") as address:
        told = subprocess.run([sys.executable, script, address], capture_output=True, text=True, check=True, timeout=60)
    assert f"'program': '{script}'" in told.stdout
    assert "'name': 'shop-" in told.stdout


@pytest.mark.parametrize(
    ("script", "name"),
    [("-c", "python"), ("", "python"), ("/x/tool/__main__.py", "tool"), ("/x/sh\udcffop", r"sh\udcffop")],
)
def test_names_of_programs(monkeypatch: pytest.MonkeyPatch, script: str, name: str) -> None:
    monkeypatch.setattr(sys, "argv", [script])
    assert Identity().claims().name == f"{name}-{os.getpid()}"
    monkeypatch.setattr(sys, "argv", ["/" + "x" * 1_000])
    assert len(Identity().claims().program) == len(Identity().claims().name) == 200


@pytest.mark.parametrize("name", [5, "", " ", "x" * 201, b"ann"])
def test_what_is_no_name_is_refused_before_anything_is_sent(tmp_path: Path, name: object) -> None:
    for connect in (dagbox.connect, dagbox.aio.connect):
        with pytest.raises(InvalidArgument, match="name of a client"):
            connect(tmp_path, name=name)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="tool"):
        dagbox.connect(tmp_path, tool=1)  # type: ignore[arg-type]


def test_an_embedded_database_has_no_clients(tmp_path: Path) -> None:
    with dagbox.open(tmp_path / "data") as db:
        assert db.clients() == []
