"""The outcome of a run: counts, latencies, and the same for each of its windows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from dagbox.bench.load.latencies import PERCENTILES, Latencies
from dagbox.bench.load.plan import Plan
from dagbox.bench.load.schedule import planned
from dagbox.errors import InvalidArgument

FORMAT = 1
TAIL_SAMPLES = 10
"""A percentile is an accident unless so many requests were slower."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a run: where it began, in seconds from the start; its length; requests done; their latencies."""

    at: float
    length: float
    done: int
    mean: float
    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, at: float, length: float, latencies: Latencies) -> Window:
        """Return the window of some latencies."""
        percentiles = (latencies.at(each) for each in (50.0, 90.0, 99.0))
        return cls(at, length, latencies.count, latencies.mean, *percentiles)

    @property
    def rate(self) -> float:
        """Requests done a second."""
        return self.done / self.length if self.length else 0.0


@dataclass(slots=True)
class Outcome:
    """The outcome of a run.

    Args:
        plan: the work.
        target: where it was done, in words.
        seconds: how long requests were begun, and answered.
        latencies: of all requests that succeeded.
        errors: code -> number of requests that failed so.
        examples: code -> the message of the first of them.
        windows: the parts of the run, in order.
        overhead_s: the time of this tool itself for each request.
        notes: what the reader should know.
        about: machine and versions.
        interrupted: True if it was ended before its time.
        name: the file that it was read from.
    """

    plan: Plan
    target: str
    seconds: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)
    errors: Counter[str] = field(default_factory=Counter)
    windows: list[Window] = field(default_factory=list)
    overhead_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    name: str = ""

    @property
    def done(self) -> int:
        """Requests that succeeded."""
        return self.latencies.count

    @property
    def rate(self) -> float:
        """Requests that succeeded, a second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def unsent(self) -> int:
        """Requests that were due at the given rate and that no slot was free to begin; 0 without a rate."""
        if not self.plan.rate:
            return 0
        due = planned(self.plan.rate, min(self.seconds, self.plan.duration_s))
        return max(0, due - self.done - sum(self.errors.values()))

    def figures(self) -> dict[str, float]:
        """Return rate, mean, percentiles and extremes; times in seconds."""
        found = {"rate": self.rate, "mean": self.latencies.mean, "least": self.latencies.least}
        found |= {percentile_name(each): self.latencies.at(each) for each in PERCENTILES}
        return found | {"most": self.latencies.most}

    def as_map(self) -> dict[str, Any]:
        """Return the outcome as a plain map, which `from_map` reads again."""
        return {
            "dagbox_bench": FORMAT,
            "plan": self.plan.as_map(),
            "target": self.target,
            "seconds": self.seconds,
            "requests": self.done,
            "errors": dict(self.errors),
            "examples": self.examples,
            "unsent": self.unsent,
            **self.figures(),
            "windows": [list(astuple(each)) for each in self.windows],
            "overhead": self.overhead_s,
            "notes": self.notes,
            "about": self.about,
            "histogram": self.latencies.encode(),
        }

    @classmethod
    def from_map(cls, data: Any, name: str) -> Outcome:
        """Read what `as_map` wrote.

        Args:
            name: the file, for messages.

        Raises:
            InvalidArgument: it is no saved run, or one of a later format.
        """
        if not isinstance(data, Mapping) or data.get("dagbox_bench") != FORMAT:
            raise InvalidArgument(f"{name} is no run that dagbox bench --save wrote")
        try:
            return cls(
                Plan.from_map(data["plan"]),
                str(data["target"]),
                float(data["seconds"]),
                Latencies.decode(data["histogram"]),
                Counter(data["errors"]),
                [Window(*each) for each in data["windows"]],
                float(data["overhead"]),
                [str(note) for note in data["notes"]],
                dict(data["about"]),
                name=name,
            )
        except Exception as error:  # noqa: BLE001 whatever a damaged file makes the decoders raise
            raise InvalidArgument(f"{name} is damaged: {type(error).__name__}: {error}") from None


def percentile_name(percentile: float) -> str:
    """Return `p50`, `p99.9` and so on."""
    return f"p{percentile:g}"


def trusted(percentile: float, count: int) -> bool:
    """Return True if enough of `count` requests were slower than this percentile that it is no accident."""
    return count * (100.0 - percentile) / 100.0 >= TAIL_SAMPLES - 1e-9
