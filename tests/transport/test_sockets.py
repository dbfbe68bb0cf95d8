"""Listening: what cannot be bound is one error that names the address."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq

from dagbox.errors import CannotConnect
from dagbox.transport.sockets import bind


@pytest.mark.parametrize(
    "path", ["missing/broker.sock", "n" * 200, "file/broker.sock"], ids=["missing", "long", "file"]
)
def test_a_path_that_cannot_be_bound_is_an_error_with_the_address(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    address = f"ipc://{tmp_path}/{path}"
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        with pytest.raises(CannotConnect, match="cannot listen there: ") as raised:
            bind(socket, address)
        assert raised.value.address == address
