"""Store: its figures and its buckets."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from dagbox.text.amounts import format_count, format_size
from dagbox.text.durations import format_ms
from dagbox.tui.display import text
from dagbox.tui.display.palette import rendered
from dagbox.tui.display.text import Styled
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import Map
from dagbox.tui.screens.base import NodeScreen
from dagbox.tui.screens.store import rows
from dagbox.tui.screens.store.bucket import BucketScreen
from dagbox.tui.widgets.table import LiveTable


class StoreScreen(NodeScreen):
    """The store of the node."""

    HELP = """
The store: how full its map is, who reads, how many commits there are and how many writes share one; and its buckets.
Enter opens a bucket. The map grows by itself; an old snapshot keeps pages from being used again.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "break", "Break on bucket", id="store.break"),
    ]

    def compose_body(self) -> ComposeResult:
        """Figures over buckets."""
        with Vertical(id="store-screen"):
            yield Static(id="store-figures")
            yield LiveTable(rows.BUCKETS, empty="no buckets yet", name="buckets")

    def on_mount(self) -> None:
        """The buckets have the focus."""
        self.set_focus(self.query_one("#buckets"))

    def show(self, model: NodeModel) -> None:
        """Show figures and buckets."""
        self.query_one("#store-figures", Static).update(rendered(self, store_text(model, self.size.width)))
        table = self.query_one("#buckets", LiveTable)
        self.show_part(table, "store", rows.bucket_rows(model), "no buckets yet")
        table.set_title(Styled("buckets"))

    def row_chosen(self, event: LiveTable.Chosen) -> None:
        """Enter goes into a bucket."""
        self.app.push_screen(BucketScreen(event.row.key))

    def action_break(self) -> None:
        """Hold the next request that names the bucket."""
        row = self.row_of("buckets")
        self.ask_break(bucket=row.key if row else "")


def store_text(model: NodeModel, width: int) -> Styled:
    """The store's figures, a few to a line."""
    store = model.map_of("store")
    result = Styled()
    if not store:
        return Styled("no writer or reader has told the figures of its store yet", "dim")
    used, room = store.get("used_bytes", 0), store.get("map_size", 0)
    if room:
        share = used / room
        fill_role = "bad" if share > 0.9 else "warn" if share > 0.75 else "good"
        result.append("map     ", "dim")
        result.extend(text.bar(share, max(10, min(40, width - 44)), fill_role))
        result.append(f" {share:.0%} · {format_size(used)} of {format_size(room)}\n")
    else:
        result.append("bytes   ", "dim")
        result.append(f"{format_size(used)}\n")
    for label, line in (
        ("engine", _engine_line(store)),
        ("readers", _readers_line(store)),
        ("commits", _commits_line(model)),
    ):
        if line:
            result.append(f"{label:<8}", "dim")
            result.append(f"{line}\n")
    return result


def _engine_line(store: Map) -> str:
    parts = [str(store.get("engine", "?"))]
    if "lmdb_version" in store:
        version = store["lmdb_version"]
        parts[0] += f" {'.'.join(map(str, version)) if isinstance(version, list | tuple) else version}"
    parts.append(f"version {format_count(store.get('version', 0))}")
    if "durability" in store:
        parts.append(f"durability {store['durability']}")
    return " · ".join(parts)


def _readers_line(store: Map) -> str:
    if "readers" not in store:
        return ""
    oldest = store.get("oldest_snapshot_s") or 0.0
    parts = [f"{store['readers']} of {store.get('max_readers', '?')} slots"]
    parts.append(f"oldest snapshot {format_ms(oldest * 1000)}" if oldest else "no snapshot open")
    if store.get("oldest_reader_lag"):
        parts.append(f"{format_count(store['oldest_reader_lag'])} commits behind")
    return " · ".join(parts)


def _commits_line(model: NodeModel) -> str:
    store = model.map_of("store")
    if "commits" not in store:
        return ""
    course = model.store
    commits, batches = course.growth("commits", 10.0), course.growth("batches", 10.0)
    each = batches / commits if commits > 0 else 0.0
    took = course.growth("commit_seconds", 10.0) / commits if commits > 0 else 0.0
    parts = [f"{format_count(commits)}/s", f"{each:.1f} writes each" if each else "idle"]
    if took:
        parts.append(f"{format_ms(took * 1000)} each")
    parts.append(f"{format_count(store['commits'])} in all")
    return " · ".join(parts)
