"""A record as a tree: its data, the records that its refs lead to, and those that facts tell of, read when unfolded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

import dagbox
from dagbox.tui.display import text
from dagbox.tui.display.palette import rendered
from dagbox.tui.display.text import Styled
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import PollRequest
from dagbox.tui.polling.source import LiveSource
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.dialogs import Whole
from dagbox.tui.screens.store.relatives import Relative, relatives

MOST_ITEMS = 200
"""Items of one list or map that are shown; a line says how many there are beyond."""


@dataclass(slots=True)
class Leaf:
    """The data of a line of the tree.

    Attributes:
        value: to be shown whole and copied.
        ref: the record that unfolds here, if it is one.
        facts_of: the record whose facts unfold here.
        read: whether it was unfolded.
    """

    value: Any = None
    ref: dagbox.Ref | None = None
    facts_of: dagbox.Ref | None = None
    read: bool = False


class RecordTree(Tree[Leaf]):
    """The tree of a record."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "unfold", "Unfold", show=False, id="tree.unfold"),
        Binding("left", "fold", "Fold", show=False, id="tree.fold"),
    ]

    def action_unfold(self) -> None:
        """Unfold the line."""
        if self.cursor_node is not None:
            self.cursor_node.expand()

    def action_fold(self) -> None:
        """Fold the line, or go to the one above it."""
        node = self.cursor_node
        if node is None:
            return
        if node.is_expanded and node.allow_expand:
            node.collapse()
        elif node.parent is not None:
            self.move_cursor(node.parent)


class RecordScreen(NodeScreen):
    """One record."""

    HELP = """
A record as a tree. Lines with an arrow and a record's name are refs: they are read when they are unfolded, and so on
from there. "facts" tells where logic names the record, and leads to the records of the other side.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "view_row", "Whole value", id="record.view"),
        Binding("y", "copy_cell", "Copy", id="record.copy"),
        Binding("ctrl+r", "again", "Read again", id="record.again"),
        Binding("b", "break", "Break on record", id="record.break"),
    ]

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__()
        self.ref = dagbox.Ref(bucket, key)

    def crumbs(self) -> list[str]:
        """From the store."""
        return ["Store", f"bucket {self.ref.bucket}", self.ref.key]

    def poll_request(self) -> PollRequest:
        """The predicates there are, for the facts of the record."""
        return PollRequest(frozenset(("facts",)))

    def compose_body(self) -> ComposeResult:
        """The tree."""
        tree = RecordTree(rendered(self, Styled(f"{self.ref}", "bold")), Leaf(ref=self.ref), id="record")
        tree.guide_depth = 3
        yield tree

    @property
    def record_tree(self) -> RecordTree:
        """The tree."""
        return self.query_one("#record", RecordTree)

    def on_mount(self) -> None:
        """Read the record."""
        self.set_focus(self.record_tree)
        self.action_again()

    def show(self, model: NodeModel) -> None:
        """The record stays as it was read."""

    def action_again(self) -> None:
        """Read the record anew."""
        root = self.record_tree.root
        root.remove_children()
        root.data = Leaf(ref=self.ref)
        self._unfold(root)
        root.expand()

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Leaf]) -> None:
        """Read the record of a line when it is unfolded."""
        self._unfold(event.node)

    def _unfold(self, node: TreeNode[Leaf]) -> None:
        leaf = node.data
        if leaf is None or leaf.read or (leaf.ref is None and leaf.facts_of is None):
            return
        leaf.read = True
        node.remove_children()
        waits = node.add_leaf(rendered(self, Styled("reading …", "dim")))

        def failed() -> None:
            leaf.read = False
            waits.set_label(rendered(self, Styled("could not be read", "bad")))

        if leaf.ref is not None:
            ref = leaf.ref
            self.host.ask(lambda s: s.record(ref.bucket, ref.key), lambda found: self._record(node, found), failed)
        elif leaf.facts_of is not None:
            about = leaf.facts_of
            known = self.model.list_of("facts")
            ask = self._facts_question(about, known)
            self.host.ask(ask, lambda found: self._facts(node, found), failed)

    @staticmethod
    def _facts_question(ref: dagbox.Ref, predicates: list[dict[str, Any]]) -> Any:
        def ask(source: LiveSource) -> list[Relative]:
            return relatives(source, ref, predicates)

        return ask

    def _record(self, node: TreeNode[Leaf], found: dagbox.Record | None) -> None:
        node.remove_children()
        if found is None:
            node.add_leaf(rendered(self, Styled("there is no such record", "bad")), Leaf())
            return
        assert node.data is not None
        node.data.value = found.data
        add_value(node, found.data, render=lambda label: rendered(self, label))
        node.add_leaf(rendered(self, Styled(f"version {found.version}", "dim")), Leaf(found.version))
        if self.model.service("logic") is not None:
            node.add(rendered(self, Styled("facts", "dim")), Leaf(facts_of=dagbox.Ref(found.bucket, found.key)))

    def _facts(self, node: TreeNode[Leaf], found: list[Relative]) -> None:
        node.remove_children()
        for each in found[:MOST_ITEMS]:
            label = Styled(each.fact)
            if each.ref is None:
                node.add_leaf(rendered(self, label), Leaf(each.fact))
            else:
                label.append(f"  → {each.ref}", "second")
                node.add(rendered(self, label), Leaf(each.fact, each.ref))
        if not found:
            node.add_leaf(rendered(self, Styled("no fact names it", "dim")), Leaf())
        if len(found) > MOST_ITEMS:
            node.add_leaf(rendered(self, Styled(f"… and {len(found) - MOST_ITEMS} more", "dim")), Leaf())

    def _leaf(self) -> Leaf | None:
        node = self.record_tree.cursor_node
        return node.data if node is not None else None

    def action_view_row(self) -> None:
        """Show the value whole."""
        leaf, node = self._leaf(), self.record_tree.cursor_node
        if leaf is not None and node is not None:
            shown = leaf.value if isinstance(leaf.value, str) else text.as_json(leaf.value)
            self.app.push_screen(Whole(str(node.label), [("", shown)]))

    def action_copy_cell(self) -> None:
        """Copy the value."""
        leaf = self._leaf()
        if leaf is not None:
            shown = leaf.value if isinstance(leaf.value, str) else text.as_json(leaf.value)
            self.app.copy_to_clipboard(shown)
            self.notify("copied")

    def action_break(self) -> None:
        """Hold the next request that names the record."""
        leaf = self._leaf()
        ref = leaf.ref if leaf is not None and leaf.ref is not None else self.ref
        self.ask_break(bucket=ref.bucket, key=ref.key)


def add_value(node: TreeNode[Leaf], value: Any, name: str = "", *, render: Callable[[Styled], Text]) -> None:
    """Add a value under a line: maps and lists as lines of their own, refs as records that unfold."""
    label = Styled()
    if name:
        label.append(f"{name}: ", "second")
    if isinstance(value, dagbox.Ref):
        node.add(render(label.append(f"→ {value}", "bold")), Leaf(str(value), value))
    elif isinstance(value, dict):
        fields = render(label.append(f"{len(value)} fields", "dim"))
        target = node if not name else node.add(fields, Leaf(value), expand=True)
        _add_items(target, [(text.of_data(key, 300), each) for key, each in value.items()], render)
    elif isinstance(value, list):
        items = render(label.append(f"{len(value)} items", "dim"))
        target = node.add(items, Leaf(value), expand=len(value) <= 20)
        _add_items(target, [(str(number), each) for number, each in enumerate(value)], render)
    else:
        node.add_leaf(render(label.append(text.of_data(value, 300))), Leaf(value))


def _add_items(node: TreeNode[Leaf], items: list[tuple[str, Any]], render: Callable[[Styled], Text]) -> None:
    for name, value in items[:MOST_ITEMS]:
        add_value(node, value, name, render=render)
    if len(items) > MOST_ITEMS:
        node.add_leaf(render(Styled(f"… and {len(items) - MOST_ITEMS} more: v shows all", "dim")), Leaf())
