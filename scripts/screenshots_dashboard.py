"""Take pictures of every screen of the dashboard, from a real run of the demo.

    python scripts/screenshots_dashboard.py [DIRECTORY]

The pictures are SVG, at 120x36, in `screenshots/` if no directory is given.
"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagbox
from dagbox.tui.app import Dashboard, open_session
from dagbox.tui.options import Options
from dagbox.tui.widgets.table import LiveTable

SIZE = (120, 36)
PATIENCE_S = 60.0
LOOK_S = 20.0
"""How long the demo runs before the pictures are taken, so that there is something to see."""


@contextmanager
def demo(directory: str) -> Iterator[None]:
    """The demo on a directory while the block runs."""
    command = [sys.executable, "-m", "dagbox", "demo", directory, "--headless", "--rate", "60", "--logic", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition holds; what it gave."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            found = condition()
        except dagbox.DagBoxError:
            found = None
        if found:
            return found
        time.sleep(0.2)
    raise SystemExit(f"never came: {what}")


def connected(directory: str) -> dagbox.Database:
    """A connection to the demo once it has its data."""
    db: dagbox.Database = wait_for(lambda: dagbox.connect(directory), "the node")
    wait_for(lambda: sum(db.buckets().values()) > 50 and db.facts(limit=1), "the data")
    return db


class Camera:
    """An app without a terminal, and where its pictures go."""

    def __init__(self, app: Dashboard, pilot: Any, out: Path) -> None:
        self.app = app
        self.pilot = pilot
        self.out = out

    async def press(self, *keys: str) -> None:
        """Press keys."""
        for key in keys:
            await self.pilot.press(key)
            await self.pilot.pause()

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until something is seen."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > end:
                raise SystemExit(f"never came: {what}")
            await asyncio.sleep(0.1)

    def rows(self, name: str) -> list[Any]:
        """The rows of a table of the screen on top."""
        found = self.app.screen.query(f"#{name}")
        return found.first(LiveTable).rows if found else []

    async def choose(self, name: str, wanted: Callable[[Any], bool]) -> None:
        """Put the cursor on a row."""
        await self.until(lambda: any(wanted(row) for row in self.rows(name)), f"a row of {name}")
        table = self.app.screen.query_one(f"#{name}", LiveTable)
        table.focus()
        table.select(next(row.key for row in table.rows if wanted(row)))
        await self.pilot.pause()

    async def take(self, name: str) -> None:
        """Take a picture. It asks for no font from elsewhere."""
        await asyncio.sleep(1.2)
        await self.pilot.pause()
        svg = self.app.export_screenshot(title=f"dagbox top: {name}")
        svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)
        (self.out / f"dashboard-{name}.svg").write_text(svg, encoding="utf-8")
        print(f"dashboard-{name}.svg")


async def take_all(directory: str, out: Path, call: Callable[[], None]) -> None:
    """Take all pictures."""
    options = Options(target=directory, environment="demo")
    app = Dashboard(open_session(options), options)
    async with app.run_test(size=SIZE) as pilot:
        camera = Camera(app, pilot, out)
        await asyncio.sleep(LOOK_S)
        await overview(camera)
        await traces(camera, call)
        await store(camera)
        await locks_and_logic(camera)
    app.session.close()


async def overview(camera: Camera) -> None:
    """Overview, one service, one worker, a question, help."""
    await camera.press("g") if not camera.app.screen.query_one("#graphs").display else None
    await camera.take("overview")
    await camera.choose("services", lambda row: row.key == "reader")
    await camera.press("enter")
    await camera.take("service")
    await camera.press("escape")
    await camera.choose("workers", lambda row: row.data["service"] == "reader")
    await camera.press("enter")
    await camera.take("worker")
    await camera.press("escape", "r")
    await camera.take("confirmation")
    await camera.press("escape", "question_mark")
    await camera.take("help")
    await camera.press("escape")


async def traces(camera: Camera, call: Callable[[], None]) -> None:
    """A held request among the traces; a waterfall."""
    await camera.press("2")
    await camera.until(lambda: len(camera.rows("traces")) > 5, "traces")
    source: Any = camera.app.session.source
    await asyncio.to_thread(source.control, "break", key="held by the break", ttl_ms=60_000)
    thread = threading.Thread(target=call)
    thread.start()
    await camera.until(lambda: camera.rows("held"), "the held request")
    await camera.take("traces")
    await asyncio.to_thread(source.control, "let_go", id=camera.rows("held")[0].key)
    await asyncio.to_thread(thread.join)
    await camera.press("w")
    await camera.until(lambda: any(row.data["hops"] for row in camera.rows("traces")), "a forwarded request")
    await camera.choose("traces", lambda row: row.data["hops"] > 0)
    await camera.press("enter")
    await camera.take("waterfall")
    await camera.press("escape")


async def store(camera: Camera) -> None:
    """The store, a bucket, a record."""
    await camera.press("3")
    await camera.until(lambda: len(camera.rows("buckets")) > 2, "the buckets")
    await camera.take("store")
    largest = max(camera.rows("buckets"), key=lambda row: row.data["bytes"]).key
    name = next((row.key for row in camera.rows("buckets") if row.key == "package"), largest)
    await camera.choose("buckets", lambda row: row.key == name)
    await camera.press("enter")
    await camera.until(lambda: camera.rows("records"), "the records")
    await camera.take("bucket")
    await camera.choose("records", lambda row: "Ref(" in repr(row.data.data))
    await camera.press("enter")
    await asyncio.sleep(1.0)
    tree: Any = camera.app.screen.query_one("#record")
    lines = list(tree.root.children)
    for line in [*lines, *(inner for each in lines for inner in each.children)]:
        if line.data is not None and line.data.ref is not None:
            tree.move_cursor(line)
            await camera.press("right")
            break
    await camera.take("record")


async def locks_and_logic(camera: Camera) -> None:
    """Locks with somebody in line; a query and its proof."""
    await camera.press("4")
    await camera.until(lambda: camera.rows("locks"), "a lock")
    await camera.take("locks")
    await camera.press("5", "n")
    await camera.until(lambda: camera.rows("facts"), "predicates")
    await camera.take("predicates")
    heads = [row.data["predicate"] for row in camera.rows("facts") if row.data["rules"] and row.data["arity"] == 2]
    await camera.press("i")
    goal: Any = camera.app.screen.query_one("#goal")
    goal.value = f"{heads[0]}(X, Y)" if heads else f"{camera.rows('facts')[0].data['predicate']}(X, Y)"
    await camera.press("enter")
    await camera.until(lambda: camera.rows("answers"), "answers")
    answers = [row.data for row in camera.rows("answers")]
    largest = Counter(row["X"] for row in answers).most_common(1)[0][0]
    far = [row for row in answers if row["X"] == largest][-1]
    await camera.choose("answers", lambda row: row.data == far)
    await camera.press("enter")
    await camera.until(lambda: camera.app.screen.query_one("#proof").display, "the proof")
    await camera.take("query")


def main() -> None:
    """Run the demo and take the pictures."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "screenshots"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        directory = str(Path(temporary) / "demo")
        with demo(directory), connected(directory) as db, dagbox.connect(directory) as other:
            bucket = next(iter(db.buckets()))

            def held() -> None:
                db.get(bucket, "held by the break", default=None)

            def waiting() -> None:
                try:
                    with other.lock("report/weekly", ttl=20, wait=55, owner="mailer:88"):
                        pass
                except dagbox.Locked:
                    return

            with db.lock("report/weekly", "report/monthly", ttl=60, owner="cron:4711"):
                line = threading.Thread(target=waiting, daemon=True)
                line.start()
                asyncio.run(take_all(directory, out, held))
            line.join(30)


if __name__ == "__main__":
    main()
