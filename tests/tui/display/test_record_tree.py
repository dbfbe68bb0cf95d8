"""The tree of a record's data."""

from __future__ import annotations

from rich.text import Text

from dagbox.tui.display.text import Styled
from dagbox.tui.screens.store.record import Leaf, RecordTree, add_value


def test_fields_of_different_names_never_look_alike() -> None:
    root = RecordTree("record", Leaf()).root

    def render(label: Styled) -> Text:
        return Text("".join(text for text, _ in label.spans))

    add_value(root, {1: "a", "1": "b", False: "c", "false": "d", "": {"x": 1}, "a": [2]}, render=render)
    assert [str(child.label) for child in root.children] == [
        "1: a",
        '"1": b',
        "false: c",
        '"false": d',
        '"": 1 fields',
        "a: 1 items",
    ]
