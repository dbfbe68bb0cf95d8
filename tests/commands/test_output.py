"""Records as the command line prints them."""

from __future__ import annotations

import pytest

import dagbox
from dagbox.commands.output import print_node


def test_fields_of_different_names_never_look_alike(capsys: pytest.CaptureFixture[str]) -> None:
    data = {1: "a", "1": "b", False: "c", "false": "d", "": "e", "a": "f"}
    print_node(dagbox.Node("b", "k", True, 1, data))
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split() for line in lines] == [
        ["1", "a"],
        ['"1"', "b"],
        ["false", "c"],
        ['"false"', "d"],
        ['""', "e"],
        ["a", "f"],
    ]
