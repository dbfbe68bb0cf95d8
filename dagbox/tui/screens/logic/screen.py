"""Logic: a query line with its rows and their proofs; predicates, rules, running queries."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, TabbedContent, TabPane, Tree

from dagbox.text.amounts import plural
from dagbox.tui import actions
from dagbox.tui.display.palette import rendered
from dagbox.tui.display.text import Styled
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import PollRequest
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.logic import rows
from dagbox.tui.screens.logic.goal import answered
from dagbox.tui.screens.logic.proof import Proof, proof_of
from dagbox.tui.screens.traces import rows as requests
from dagbox.tui.widgets.table import LiveTable

MOST_ROWS = 1_000
"""Rows of a query that are asked for; one more tells that there are more."""
QUERY_S = 30.0
_PAGES = {"page-query": "answers", "page-facts": "facts", "page-rules": "rules", "page-queries": "queries"}
"""The table of each page."""


class LogicScreen(NodeScreen):
    """Rules, facts and queries."""

    HELP = """
Write a goal such as needs(a, X) and press enter; upper-case names are variables. Escape leaves the line. Enter on a
row shows why it is an answer. The other pages list the predicates with their sizes, the rules, and the queries that
run now: x stops one.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "write", "Query", id="logic.write"),
        Binding("x", "stop", "Stop query", id="logic.stop"),
        Binding("n", "page", "Next page", id="logic.page"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.goal = ""
        self._asked = 0

    def poll_request(self) -> PollRequest:
        """Predicates, rules, requests under way."""
        return PollRequest(frozenset(("facts", "rules", "open")))

    def compose_body(self) -> ComposeResult:
        """Pages."""
        with TabbedContent(id="pages"):
            with TabPane("Query", id="page-query"), Vertical():
                yield Input(placeholder="a goal, such as needs(a, X)", id="goal", compact=True)
                with Horizontal(id="answers-and-proof"):
                    yield LiveTable([rows.NO_ANSWER], empty="no query yet: i to write one", name="answers")
                    yield Tree[Any]("why", id="proof")
            with TabPane("Predicates", id="page-facts"):
                yield LiveTable(rows.PREDICATES, empty="no facts yet", name="facts")
            with TabPane("Rules", id="page-rules"):
                yield LiveTable(rows.RULES, empty="no rules yet", name="rules")
            with TabPane("Running", id="page-queries"):
                yield LiveTable(requests.OPEN, empty="no query runs now", name="queries")

    def on_mount(self) -> None:
        """The tables have the focus, so that keys work; the proof comes with a row."""
        self.query_one("#proof").display = False
        self.set_focus(self.query_one("#answers"))

    def show(self, model: NodeModel) -> None:
        """Show predicates, rules, running queries."""
        for name, part, found, empty in (
            ("facts", "facts", rows.predicate_rows(model), "no facts yet"),
            ("rules", "rules", rows.rule_rows(model), "no rules yet"),
            ("queries", "open", requests.open_rows(model, "logic"), "no query runs now"),
        ):
            self.show_part(self.query_one(f"#{name}", LiveTable), part, found, empty)

    # ------------------------------------------------------------------ queries

    def action_write(self) -> None:
        """Go to the query line."""
        self.query_one("#pages", TabbedContent).active = "page-query"
        self.set_focus(self.query_one("#goal"))

    def action_back(self) -> None:
        """Leave the query line, or the proof, for the rows; from there go on as on other screens."""
        if self.focused is not None and self.focused.id in ("goal", "proof"):
            self.set_focus(self.query_one("#answers"))
        else:
            super().action_back()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Ask."""
        if event.input.id != "goal":
            return
        goal = event.value.strip().rstrip(".")
        if goal:
            self._ask(goal)

    def _ask(self, goal: str) -> None:
        self.goal = goal
        self._asked += 1
        asked = self._asked
        table = self.query_one("#answers", LiveTable)
        table.empty = "asking …"
        table.show([])
        self.query_one("#proof").display = False

        def done(found: list[dict[str, Any]]) -> None:
            if asked == self._asked and self.is_mounted:
                self._answers(found)

        def failed() -> None:
            if asked == self._asked and self.is_mounted:
                table.empty = "the query failed"
                table.set_columns([rows.NO_ANSWER])
                table.show([])
                table.set_title(Styled(""))
                table.refresh()

        self.host.ask(lambda source: source.query(goal, MOST_ROWS + 1, QUERY_S), done, failed)

    def _answers(self, found: list[dict[str, Any]]) -> None:
        table = self.query_one("#answers", LiveTable)
        shown = found[:MOST_ROWS]
        table.empty = "no answer"
        table.set_columns(rows.answer_columns(shown) if shown and shown[0] else [rows.NO_ANSWER])
        table.show(rows.answer_rows(shown))
        more = " · there are more, which are not shown" if len(found) > MOST_ROWS else ""
        table.set_title(Styled(f"{plural(len(shown), 'row')}{more}"))
        self.set_focus(table)

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter on a row shows its proof."""
        if event.table.id != "answers":
            super().row_chosen(event)
            return
        goal = answered(self.goal, event.row.data)
        self.host.ask(lambda source: source.why(goal), lambda found: self._proof(goal, found))

    def _proof(self, goal: str, found: Any) -> None:
        tree = self.query_one("#proof", Tree)
        tree.display = True
        tree.border_title = rendered(self, Styled(f"why {goal}"))
        tree.root.remove_children()
        proof = proof_of(found)
        tree.root.set_label(rendered(self, Styled(proof.label, "bold")))
        self._add(tree.root, proof)
        tree.root.expand_all()
        self.set_focus(tree)

    def _add(self, node: Any, proof: Proof) -> None:
        for each in proof.parts:
            label = Styled(each.label)
            if each.note:
                label.append(f"  {each.note}", "dim")
            if each.parts:
                self._add(node.add(rendered(self, label), expand=True), each)
            else:
                node.add_leaf(rendered(self, label))

    # ------------------------------------------------------------------ pages

    def action_page(self) -> None:
        """Go to the next page."""
        pages = self.query_one("#pages", TabbedContent)
        names = list(_PAGES)
        pages.active = names[(names.index(pages.active) + 1) % len(names)]
        self.set_focus(self.query_one(f"#{_PAGES[pages.active]}"))

    def action_stop(self) -> None:
        """Stop a running query."""
        row = self.row_of("queries")
        if row is not None:
            self.host.do(actions.cancel(self.model, row.data["id"]))
        else:
            self.notify("choose a running query: n goes to the page", severity="warning")
