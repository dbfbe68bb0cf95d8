"""The options of the dashboard. Knows no Textual."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Options that the dashboard is started with.

    Attributes:
        target: the node: a directory or URL; None: DAGBOX_URL.
        read_only: whether every act is refused.
        refresh_s: seconds from poll to poll.
        environment: `NAME` or `NAME=COLOUR` of the badge; "" for none.
        theme: the theme to begin with; "" for the usual one.
        record: the file to record to.
        replay: the recording to show instead of a node.
        speed: how many times faster to replay.
        metrics_port: where to serve figures to Prometheus; 0 takes a free port.
        screen: the screen to begin with.
        owns_node: whether the node stops when the dashboard is left.
    """

    target: str | None = None
    read_only: bool = False
    refresh_s: float = 1.0
    environment: str = ""
    theme: str = ""
    record: str | None = None
    replay: str | None = None
    speed: float = 1.0
    metrics_port: int | None = None
    screen: str = "overview"
    owns_node: bool = False

    def command(self) -> str:
        """The shell command that starts the same dashboard, for the web server to run for each browser."""
        words = [sys.executable, "-m", "dagbox", "top"]
        words += ["--replay", self.replay] if self.replay else [self.target] if self.target else []
        words += ["--refresh", str(self.refresh_s)]
        words += ["--read-only"] if self.read_only else []
        words += ["--env", self.environment] if self.environment else []
        words += ["--theme", self.theme] if self.theme else []
        words += ["--speed", str(self.speed)] if self.replay else []
        return shlex.join(words)
