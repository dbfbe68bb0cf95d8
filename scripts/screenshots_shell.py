"""Make the pictures of the shell in screenshots/: a real node, a real shell in a real terminal (tmux), keys typed.

python scripts/screenshots_shell.py [NAME...]

Needs tmux. Writes `screenshots/shell-NAME.svg`, and a PNG of it too where resvg_py is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
PROGRAM = f"{sys.executable} -m dagbox"
COLUMNS, LINES = 104, 32
PATIENCE_S = 15.0
REST_S = 0.5
"""How long the screen must stay the same before the next key, in seconds."""
DIM = [(59, 66, 82), (224, 108, 117), (152, 195, 121), (229, 192, 123), (97, 175, 239), (198, 120, 221)]
BRIGHT = [(110, 118, 135), *DIM[1:]]
CYAN, WHITE = (86, 182, 194), (216, 222, 233)
THEME = TerminalTheme((24, 26, 31), WHITE, [*DIM, CYAN, WHITE], [*BRIGHT, CYAN, (236, 239, 244)])
RECORDS = [
    'put team/core {"name": "Core", "lead": @user/ada}',
    'put team/tools {"name": "Tools", "lead": @user/grace}',
    'put user/ada {"name": "Ada Lovelace", "team": @team/core, "langs": ["notes", "loops"]}',
    'put user/alan {"name": "Alan Turing", "team": @team/core}',
    'put user/grace {"name": "Grace Hopper", "team": @team/tools, "langs": ["cobol"]}',
    'put post/p1 {"title": "On the engine", "author": @user/ada, "likes": 42}',
    "assert follows(grace, ada), follows(alan, grace)",
    "rule reaches(X, Y) :- follows(X, Y).",
    "rule reaches(X, Z) :- reaches(X, Y), follows(Y, Z).",
    'put post/p2 {"title": "Compilers for all", "author": @user/grace, "likes": 71}',
]


@dataclass(frozen=True)
class Step:
    """Something typed, and the text that must be on the screen before the next step.

    Args:
        keys: text, or the name of a key as tmux has it, such as `Tab`.
        see: a regular expression.
    """

    keys: str
    see: str
    key: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture: what is typed into a shell that was started with these arguments."""

    name: str
    title: str
    steps: Sequence[Step]
    arguments: str = ""
    lines: int = LINES


def line(text: str, see: str) -> list[Step]:
    """Type a text, then Enter."""
    return [Step(text, re.escape(text[-20:])), Step("Enter", see, key=True)]


PICTURES = [
    Picture(
        "relations",
        "dagbox shell data",
        [
            *line("get user/ada {", "·"),
            *line("team: via team { lead: via lead }", "·"),
            Step("posts: post/p1, post/p9", "p9"),
            Step("Enter", "·.*\n.*·.*\n", key=True),
            *line("}", "missing"),
            *line("lock user/ada --ttl 30s", "token"),
            Step('put user/ada {"name": "Ada", "te', "ref to team"),
        ],
        lines=36,
    ),
    Picture(
        "completion",
        "dagbox shell data",
        [
            *line("scan user", "3 records"),
            *line("peek user/grace", r"refs: \["),
            Step("get user/", r"user/ada +Ada Lov"),
        ],
        lines=24,
    ),
    Picture(
        "locks",
        "dagbox shell data",
        [
            *line("lock user/ada --ttl 30s", "token"),
            *line("batch", "collected"),
            *line('put user/ada {"name": "Ada, Countess of Lovelace", "team": @team/core}', r"\(1\)"),
            *line("del post/p1", r"\(2\)"),
            *line("locks", "1 lock"),
            *line("workers", "5 workers|4 workers|6 workers"),
            *line("commit", r"\[y/N\]"),
            *line("n", "nothing was done"),
            Step("comm", "commit"),
        ],
    ),
    Picture(
        "logic",
        "dagbox shell data",
        [
            *line("rules", "2 rules"),
            *line("query reaches(alan, X) fetch X in user", "Grace Hopper"),
            *line("why reaches(alan, ada)", r"fact\n"),
            *line("get team/core { lead: via lead { fans: where reaches(X, $key) in user limit 1 } }", "Grace"),
            Step("query reaches(alan, X), not fo", r"follows\("),
        ],
        lines=44,
    ),
    Picture(
        "production",
        "dagbox shell data",
        [
            *line("get user/grace", "cobol"),
            *line("del user/grace", "read-only"),
            *line("gte user/ada", "did you mean"),
            Step("put user/ada {name: 1}", "double quotes"),
        ],
        arguments="--label PRODUCTION --colour red --read-only",
        lines=20,
    ),
    Picture("help", "dagbox shell data", line("set pager off", "is off") + line("help", "leave the shell"), lines=84),
]


class Screen:
    """A tmux session of our own server, which ends with the block."""

    def __init__(self, command: str, environment: dict[str, str], columns: int, lines: int) -> None:
        self.socket = f"dagbox-screenshots-{os.getpid()}-{time.monotonic_ns()}"
        self.environment = environment
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines), command)

    def tmux(self, *arguments: str) -> str:
        """Run a tmux command; what it prints."""
        command = ["tmux", "-L", self.socket, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=self.environment).stdout

    def text(self, *, colours: bool = False) -> str:
        """Return what is on the screen."""
        return self.tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def wait(self, pattern: str) -> None:
        """Wait until the screen shows a text."""
        until = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.text()):
            if time.monotonic() > until:
                raise SystemExit(f"{pattern!r} did not come; the screen is\n{self.text()}")
            time.sleep(0.05)

    def rest(self) -> None:
        """Wait until nothing changes any more."""
        before, since = "", time.monotonic()
        while time.monotonic() - since < REST_S:
            now = re.sub(r"\d+ s", "", self.text())
            if now != before:
                before, since = now, time.monotonic()
            time.sleep(0.05)

    def do(self, step: Step) -> None:
        """Type, and wait for what must come."""
        self.tmux("send-keys", *([] if step.key else ["-l"]), step.keys)
        self.wait(step.see)
        self.rest()

    def close(self) -> None:
        """End the session and its programs."""
        self.tmux("kill-server")


@contextmanager
def node(directory: Path, environment: dict[str, str]) -> Iterator[None]:
    """A node with the records."""
    process = subprocess.Popen(
        [*PROGRAM.split(), "up", directory.name, "--headless"],
        cwd=directory.parent,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for said in process.stderr:
            if "ready, serving" in said:
                break
        subprocess.run(
            [*PROGRAM.split(), "shell", directory.name],
            input="\n".join(RECORDS),
            cwd=directory.parent,
            env=environment,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        yield
    finally:
        process.terminate()
        process.stderr.read()
        process.wait()
        process.stderr.close()


def take(picture: Picture, directory: Path, environment: dict[str, str]) -> None:
    """Make one picture."""
    command = f"cd {directory.parent} && exec {PROGRAM} shell {directory.name} {picture.arguments}"
    screen = Screen(command, environment, COLUMNS, picture.lines)
    try:
        screen.wait(">")
        screen.rest()
        for step in picture.steps:
            screen.do(step)
        drawn = screen.text(colours=True)
    finally:
        screen.close()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(drawn.rstrip("\n")), no_wrap=True, crop=True)
    target = ROOT / "screenshots" / f"shell-{picture.name}.svg"
    target.write_text(console.export_svg(title=picture.title, theme=THEME, unique_id=f"shell-{picture.name}"))
    print(target.relative_to(ROOT))
    if importlib.util.find_spec("resvg_py") is not None:
        resvg = importlib.import_module("resvg_py")
        fonts = {"monospace_family": "DejaVu Sans Mono", "font_family": "DejaVu Sans Mono"}
        target.with_suffix(".png").write_bytes(bytes(resvg.svg_to_bytes(svg_path=str(target), **fonts)))


def main() -> None:
    """Make the pictures that were named, or all."""
    wanted = set(sys.argv[1:]) or {picture.name for picture in PICTURES}
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DAGBOX_", "TMUX"))},
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "TERM": "xterm-256color",
        }
        directory = home / "data"
        directory.mkdir()
        with node(directory, environment):
            for picture in PICTURES:
                if picture.name in wanted:
                    take(picture, directory, environment)


if __name__ == "__main__":
    main()
