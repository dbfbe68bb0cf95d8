"""Where addresses lead: which may be listened on, and which are followed when nobody named them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagbox.errors import BadSetting, CannotConnect, InvalidArgument, Refused
from dagbox.settings import Settings, load_settings
from dagbox.transport.address import check_url, leaves_machine, resolve, write_node_file
from dagbox.transport.sockets import check_listen

HERE = ["ipc:///run/x", "inproc://x", "tcp://127.0.0.1:7000", "tcp://127.9.9.9:7", "tcp://localhost:7", "tcp://[::1]:7"]
ELSEWHERE = [
    "tcp://10.0.0.1:7000",
    "tcp://db.example.org:7000",
    "tcp://127.0.0.1.example.org:7000",
    "tcp://127.example.org:7000",
    "tcp://127.0.0.1:0;10.0.0.1:7000",
    "tcp://localhost.example.org:7000",
    "tcp://0.0.0.0:7000",
    "tcp://[::]:7000",
    "tcp://*:7000",
]


@pytest.mark.parametrize("address", HERE)
def test_addresses_of_this_machine(address: str) -> None:
    assert not leaves_machine(address)
    check_listen(address, secure=False, insecure=False)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_addresses_that_may_be_of_others(address: str) -> None:
    """Who only begins like this machine is another."""
    assert leaves_machine(address)
    check_listen(address, secure=False, insecure=True)
    with pytest.raises(Refused, match="--insecure"):
        check_listen(address, secure=False, insecure=False)


@pytest.mark.parametrize(
    "address", ["ipc://@x", "ipc://", "tcp://127.0.0.1", "tcp://127.0.0.1:65536", "tcp://h:\u0661", "http://x:1", "x"]
)
def test_no_addresses(address: str) -> None:
    for insecure in (False, True):
        with pytest.raises(InvalidArgument, match="not an address"):
            check_listen(address, secure=False, insecure=insecure)
    with pytest.raises(InvalidArgument, match="not an address"):
        check_url(address)


@pytest.mark.parametrize("address", [*ELSEWHERE, "ipc://@x", "nothing", ""])
def test_the_file_of_a_node_leads_to_no_other_machine(tmp_path: Path, address: str) -> None:
    write_node_file(tmp_path, address)
    with pytest.raises(CannotConnect):
        resolve(tmp_path)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_a_settings_file_that_was_found_leads_to_no_other_machine(tmp_path: Path, address: str) -> None:
    (tmp_path / "dagbox.toml").write_text(f'at = "{address}"\n')
    with pytest.raises(BadSetting, match="DAGBOX_CONFIG"):
        load_settings({}, tmp_path)
    assert load_settings({"DAGBOX_CONFIG": str(tmp_path / "dagbox.toml")}) == Settings(at=address)
    assert load_settings({"DAGBOX_URL": address}, tmp_path) == Settings(at=address)


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("data", False),
        ("./data/../other", False),
        ("..data", False),
        ("../data", True),
        ("data/../../x", True),
        ("/srv/data", True),
        ("ipc:///tmp/x", True),
        ("tcp://127.0.0.1:7000", True),
    ],
)
def test_where_a_found_file_leads_out_of_its_directory_is_told(tmp_path: Path, at: str, told: bool) -> None:
    path = tmp_path / "dagbox.toml"
    path.write_text(f'at = "{at}"\n')
    assert load_settings({}, tmp_path).at_found_in == (str(path) if told else "")
    assert load_settings({"DAGBOX_CONFIG": str(path)}).at_found_in == ""
    assert load_settings({"DAGBOX_URL": at}, tmp_path).at_found_in == ""
