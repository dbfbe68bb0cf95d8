"""Find the components of a node that hang: they run as processes, but give no sign of life.

Rules:

1. A component gives a sign of life when it is `heard`: a worker if the broker lists it as alive, the broker if it
   answers.
2. What the broker knows of the workers says nothing while it does not answer itself, or is new: then their time does
   not run.
3. Time in which the watcher itself stood still (stopped with all others, or the machine slept) does not count.

Pure: observations and `now` (monotonic seconds) in, names out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

BROKER = "broker"
START_S = 60.0
"""Seconds that a process may take from its start to its first sign of life."""


class Liveness:
    """Signs of life of the components of a node.

    Args:
        hung_s: seconds of silence after which a component hangs.
        longest_gap_s: seconds between two observations beyond which the watcher itself stood still.
    """

    def __init__(self, hung_s: float, longest_gap_s: float) -> None:
        self._hung_s = hung_s
        self._longest_gap_s = longest_gap_s
        self._components: dict[str, _Component] = {}
        self._observed_at = 0.0

    def observe(self, running: Mapping[str, int], alive: Collection[tuple[str, int]] | None, now: float) -> list[str]:
        """Note one look at the components; return those that hang.

        Args:
            running: the components that run as processes: name -> pid.
            alive: name and pid of the workers that the broker takes for alive; None if the broker did not answer.
        """
        stalled = now - self._observed_at > self._longest_gap_s
        self._observed_at = now
        self._components = {
            name: known
            if (known := self._components.get(name)) is not None and known.pid == pid
            else _Component(pid, now, max(START_S, self._hung_s))
            for name, pid in running.items()
        }
        hung: list[str] = []
        for name, component in self._components.items():
            if (alive is not None) if name == BROKER else (alive is not None and (name, component.pid) in alive):
                component.heard_at, component.may_be_silent_s, component.heard = now, self._hung_s, True
            elif stalled or (alive is None and name != BROKER):
                component.heard_at = now
            elif now - component.heard_at >= component.may_be_silent_s:
                hung.append(name)
        return hung

    @property
    def heard(self) -> set[str]:
        """Names of the running components that gave a sign of life since they started."""
        return {name for name, component in self._components.items() if component.heard}


@dataclass(slots=True)
class _Component:
    pid: int
    heard_at: float
    may_be_silent_s: float
    heard: bool = False
