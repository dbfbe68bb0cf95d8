"""Count how execution wanders through the source files of the package, and print a table.

    python scripts/walks.py               the table: rooms, calls and returns of each walk
    python scripts/walks.py get put       of these walks only
    python scripts/walks.py --show put    the way of one walk, room by room, and between which rooms it goes back

A walk is one piece of work as a program, a user or a component has it done. It is run on real components in this
process: those of a node on threads of their own, over a Unix socket in a temporary directory.

What is counted:

- room: a source file of the package.
- call: the start of a Python function whose code lies in a room, whoever called it; a generator's at each resumption,
  a comprehension's too (Python 3.12 and later have these inline: compare figures of one version only).
- return: a call in another room than the call before it, if that room has been entered before. A walk that goes
  through each room once has none; `a b a b` has two. Coming back to a caller counts only once that calls something.

Each thread walks by itself. A walk over several threads is shown by part and as a whole: its rooms are those of
all parts, its calls and returns the sums. A loop's part lasts from one sleep to the next.

Each walk is repeated, and of each part the most frequent path counts: what happens only once (modules that
are loaded), and heartbeats and wake-ups that happen to fall in, are left out.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import dagbox
from dagbox.cli import main as command_line
from dagbox.shell.connection import Connection
from dagbox.shell.output import Output
from dagbox.shell.session import Shell
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import PollRequest
from dagbox.tui.polling.source import LiveSource
from dagbox.tui.screens.overview.rows import WORKERS, worker_rows

ROOT = os.path.dirname(os.path.abspath(dagbox.__file__)) + os.sep
HERE = threading.main_thread().name
BROKER, WRITER, LOCK = "dagbox broker", "dagbox writer", "dagbox lock"
"""The threads of a directory that is opened with `serve=True`."""
WORKER = "walker"
BEAT = f"heartbeat {WORKER}"
"""The thread that sends the signs of life of the worker `WORKER`."""

ROUNDS = 15
BEATS = 7
"""How often the heartbeat is walked: there is one a second."""
QUIET_S = 0.03
"""How long nothing must happen for a walk to have ended, in seconds."""
PATIENCE_S = 15.0


class Step(NamedTuple):
    """One call: the thread, the room, the function."""

    thread: str
    room: str
    function: str


Trail = tuple[Step, ...]
Round = dict[str, Trail]
"""The trail of each part of a walk, once."""


# ---------------------------------------------------------------------- recording


class Recorder:
    """Notes the calls of some threads; those that it is to note must be started within its block.

    Args:
        threads: their names.
    """

    def __init__(self, *threads: str) -> None:
        self._threads = frozenset(threads)
        self._steps: list[Step] = []
        self._rooms: dict[str, str] = {}

    def __enter__(self) -> Recorder:
        threading.setprofile(self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        threading.setprofile(None)

    @contextmanager
    def here(self) -> Iterator[None]:
        """Note the calls of this thread while the block runs."""
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        room = self._rooms.get(code.co_filename)
        if room is None:
            path = os.path.abspath(code.co_filename)
            room = self._rooms[code.co_filename] = path.removeprefix(ROOT) if path.startswith(ROOT) else ""
        if room:
            thread = threading.current_thread().name
            if thread in self._threads:
                self._steps.append(Step(thread, room, code.co_qualname))

    def settle(self) -> None:
        """Wait until nothing happens."""
        end = time.monotonic() + PATIENCE_S
        before = -1
        while before != len(self._steps) and time.monotonic() < end:
            before = len(self._steps)
            time.sleep(QUIET_S)

    def wait_for(self, thread: str) -> None:
        """Wait until a thread does something, and forget what the others did before that."""
        end = time.monotonic() + PATIENCE_S
        self._steps.clear()
        while True:
            begin = next((place for place, step in enumerate(self._steps) if step.thread == thread), None)
            if begin is not None:
                del self._steps[:begin]
                return
            if time.monotonic() > end:
                raise SystemExit(f"walks: the thread {thread!r} does nothing: has it another name now?")
            time.sleep(0.002)

    def forget(self) -> None:
        """Wait until nothing happens, and begin anew."""
        self.settle()
        gc.collect()
        self._steps.clear()

    def take(self) -> dict[str, Trail]:
        """Return what happened since, by thread, once nothing happens any more."""
        self.settle()
        found: dict[str, list[Step]] = {thread: [] for thread in self._threads}
        for step in list(self._steps):
            found[step.thread].append(step)
        self._steps.clear()
        return {thread: tuple(steps) for thread, steps in found.items()}

    def trail(self, act: Callable[[], object]) -> Trail:
        """The way of something that this thread does alone."""
        gc.collect()
        self._steps.clear()
        with self.here():
            act()
        return self.take()[HERE]


# ---------------------------------------------------------------------- the walks


def fill(db: dagbox.Database) -> None:
    """Write what the walks read: records with refs, facts, a rule that is recursive."""
    team = db.put("team", {"name": "Analytical Engines"}, key="engines")
    db.put("user", {"name": "Ada", "team": team}, key="ada")
    db.assert_fact("follows", "ada", "bob")
    db.assert_fact("follows", "bob", "cy")
    db.add_rule("reaches(X, Y) :- follows(X, Y).")
    db.add_rule("reaches(X, Z) :- reaches(X, Y), follows(Y, Z).")


@contextmanager
def filled(directory: Path) -> Iterator[Path]:
    """Give a directory that has the records."""
    with dagbox.open(directory) as db:
        fill(db)
    yield directory


@contextmanager
def node(directory: Path) -> Iterator[dagbox.Database]:
    """Serve the records from threads of this process while the block runs; gives a client over the socket."""
    with dagbox.open(directory, serve=True) as served:
        fill(served)
        with dagbox.connect(directory) as db:
            yield db


def walk_get(directory: Path) -> Iterator[Round]:
    """Read a record, embedded."""
    recorder = Recorder(HERE)
    with filled(directory), dagbox.open(directory) as db:
        for _ in range(ROUNDS):
            yield {"": recorder.trail(lambda: db.get("user", "ada"))}


def walk_command(directory: Path) -> Iterator[Round]:
    """Show a record by `dagbox get`, on a directory that no node serves."""
    recorder = Recorder(HERE)
    with filled(directory):
        for _ in range(ROUNDS):
            with redirect_stdout(io.StringIO()):
                yield {"": recorder.trail(lambda: command_line(["get", "--at", str(directory), "user/ada"]))}


def walk_put(directory: Path) -> Iterator[Round]:
    """Write a record through the broker."""
    with Recorder(HERE, BROKER, WRITER) as recorder, node(directory) as db:
        for _ in range(ROUNDS):
            recorder.forget()
            with recorder.here():
                db.put("user", {"name": "Grace"}, key="grace")
            found = recorder.take()
            yield {"client": found[HERE], "broker": found[BROKER], "writer": found[WRITER]}


def walk_heartbeat(directory: Path) -> Iterator[Round]:
    """Send a sign of life of a worker, poll the status, and show it in the worker's row of the dashboard."""
    with Recorder(HERE, BROKER, BEAT) as recorder, node(directory), beating(directory):
        source, model = LiveSource(str(directory)), NodeModel()
        try:
            for _ in range(BEATS):
                recorder.wait_for(BEAT)
                ping = recorder.take()
                with recorder.here():
                    cell = beat_cell(source, model)
                status = recorder.take()
                if cell:  # the worker is known
                    yield {
                        "worker": ping[BEAT],
                        "broker, ping": ping[BROKER],
                        "broker, status": status[BROKER],
                        "dashboard": status[HERE],
                    }
        finally:
            source.close()


def beat_cell(source: LiveSource, model: NodeModel) -> str:
    """Poll; the text of the worker's cell that tells of its heartbeat, "" if there is no such worker."""
    for poll in source.polls(PollRequest()):
        model.take(poll)
    pulse = WORKERS[0]
    return next((pulse.text(row.data) for row in worker_rows(model) if row.data["name"] == WORKER), "")


@contextmanager
def beating(directory: Path) -> Iterator[None]:
    """Serve a function as one more worker while the block runs, out of step with the workers of the node."""

    @dagbox.service("echo")
    def echo(payload: Any, request: Any) -> Any:
        return payload

    stop = threading.Event()
    time.sleep(0.5)  # half of the time between two heartbeats
    thread = threading.Thread(target=lambda: dagbox.serve(echo, connect=directory, name=WORKER, stop=stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def walk_query(directory: Path) -> Iterator[Round]:
    """Ask the first question after opening a directory, about a recursive rule."""
    recorder = Recorder(HERE)
    with filled(directory):
        for _ in range(ROUNDS):
            with dagbox.open(directory) as db:
                yield {"": recorder.trail(lambda: db.query("reaches(ada, X)"))}


def walk_lock(directory: Path) -> Iterator[Round]:
    """Acquire a lock through the broker."""
    with Recorder(HERE, BROKER, LOCK, WRITER) as recorder, node(directory) as db:
        for _ in range(ROUNDS):
            locking = db.lock("user/ada", keepalive=False)
            recorder.forget()
            with recorder.here():
                lease = locking.acquire()
            found = recorder.take()
            lease.release()
            yield {
                "client": found[HERE],
                "broker": found[BROKER],
                "lock": found[LOCK],
                "writer": found[WRITER],
            }


def walk_shell(directory: Path) -> Iterator[Round]:
    """Read, run and answer one line in the shell: a record with a relation."""
    recorder = Recorder(HERE)
    with filled(directory):
        output = Output(io.StringIO(), io.StringIO(), terminal=False)
        shell = Shell(Connection(str(directory), dagbox.open(directory)), output)
        try:
            for _ in range(ROUNDS):
                yield {"": recorder.trail(lambda: shell.run_text("get user/ada { team: via team }"))}
        finally:
            shell.close()


class Walk(NamedTuple):
    """A walk: what it is called in the table, and what does it."""

    title: str
    rounds: Callable[[Path], Iterator[Round]]


WALKS = {
    "get": Walk("get, embedded", walk_get),
    "command": Walk("dagbox get, in process", walk_command),
    "put": Walk("put through the broker", walk_put),
    "heartbeat": Walk("heartbeat, to a cell", walk_heartbeat),
    "query": Walk("first query, embedded", walk_query),
    "lock": Walk("lock through the broker", walk_lock),
    "shell": Walk("shell line with relation", walk_shell),
}


def measure(walk: Walk) -> Round:
    """Do a walk some times; of each part the trail that was the most frequent, of several the shortest."""
    seen: dict[str, Counter[Trail]] = {}
    with tempfile.TemporaryDirectory(prefix="walks-") as directory:
        for one in walk.rounds(Path(directory) / "data"):
            for part, trail in one.items():
                seen.setdefault(part, Counter())[trail] += 1
    for part, trails in seen.items():
        if () in trails:
            raise SystemExit(f"walks: {walk.title}: nothing was seen of the {part}: has its thread another name now?")
    return {part: max(trails, key=lambda t: (trails[t], -len(t))) for part, trails in seen.items()}


# ---------------------------------------------------------------------- figures


class Figures(NamedTuple):
    """The figures of a walk, or of a part of one."""

    rooms: int
    calls: int
    returns: int


def legs(trail: Trail) -> list[Trail]:
    """The trail cut where it goes to another room."""
    found: list[list[Step]] = []
    for step in trail:
        if found and found[-1][-1].room == step.room:
            found[-1].append(step)
        else:
            found.append([step])
    return [tuple(leg) for leg in found]


def returns(trail: Trail) -> list[tuple[str, str]]:
    """The rooms between which the trail goes back: from, to."""
    way = [leg[0].room for leg in legs(trail)]
    entered: set[str] = set()
    found: list[tuple[str, str]] = []
    for before, room in zip(["", *way], way, strict=False):
        if room in entered:
            found.append((before, room))
        entered.add(room)
    return found


def figures(trails: Sequence[Trail]) -> Figures:
    """The figures of parts together."""
    rooms = {step.room for trail in trails for step in trail}
    return Figures(len(rooms), sum(map(len, trails)), sum(len(returns(trail)) for trail in trails))


# ---------------------------------------------------------------------- printing


def table_lines(name: str, parts: Round) -> Iterator[str]:
    """A line for a walk, and one for each of its parts if it has several."""

    def line(label: str, found: Figures) -> str:
        return f"{label:<36}{found.rooms:>7}{found.calls:>8}{found.returns:>9}"

    yield line(f"{name:<10} {WALKS[name].title}", figures(list(parts.values())))
    if len(parts) > 1:
        for part, trail in parts.items():
            yield line(f"{'':<10}   {part}", figures([trail]))


def way_lines(part: str, trail: Trail) -> Iterator[str]:
    """The way of a part: a line for each room that it comes to, `<-` where it comes back; then who goes back where."""
    found = figures([trail])
    yield f"{part}: {found.rooms} rooms, {found.calls} calls, {found.returns} returns"
    entered: set[str] = set()
    for leg in legs(trail):
        room = leg[0].room
        yield f"  {'<-' if room in entered else '  '} {room:<32} {functions_of(leg)}"
        entered.add(room)
    pairs = Counter(" | ".join(sorted(pair)) for pair in returns(trail))
    yield "  returns between"
    for pair, number in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        yield f"  {number:>5}  {pair}"
    yield "  returns to"
    for room, number in Counter(to for _, to in returns(trail)).most_common():
        yield f"  {number:>5}  {room}"


def functions_of(leg: Trail) -> str:
    """The functions of one leg, those that follow each other told once."""
    names: list[tuple[str, int]] = []
    for step in leg:
        name = step.function.replace(".<locals>", "")
        if names and names[-1][0] == name:
            names[-1] = (name, names[-1][1] + 1)
        else:
            names.append((name, 1))
    return ", ".join(name if number == 1 else f"{name} x{number}" for name, number in names)


# ---------------------------------------------------------------------- the program


def prepare() -> None:
    """Take away what the figures must not depend on: settings of the user, the moments of garbage collection."""
    for name in [name for name in os.environ if name.startswith("DAGBOX")]:
        del os.environ[name]
    gc.collect()
    gc.freeze()
    gc.disable()


def main() -> int:
    """Measure walks and print what was asked for."""
    parser = argparse.ArgumentParser(description="Count rooms, calls and returns of the walks through the package.")
    parser.add_argument("walks", nargs="*", metavar="WALK", help=f"some of {', '.join(WALKS)}; all if none is named")
    parser.add_argument("--show", choices=WALKS, metavar="WALK", help="print the way of one walk, room by room")
    options = parser.parse_args()
    unknown = [name for name in options.walks if name not in WALKS]
    if unknown:
        parser.error(f"no walk {unknown[0]!r}: there are {', '.join(WALKS)}")
    prepare()
    names = [options.show] if options.show else options.walks or list(WALKS)
    if not options.show:
        print(f"{'walk':<36}{'rooms':>7}{'calls':>8}{'returns':>9}")
    for name in names:
        parts = measure(WALKS[name])
        for line in table_lines(name, parts) if not options.show else ():
            print(line, flush=True)
        for part, trail in parts.items() if options.show else ():
            print("\n".join(way_lines(part or WALKS[name].title, trail)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
