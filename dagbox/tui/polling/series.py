"""Figures over time, one entry a poll. Knows no Textual."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from dagbox.tui.polling.request import Map

HISTORY = 600
"""Polls that a course keeps."""


@dataclass(slots=True)
class Course:
    """How figures went, one entry a poll."""

    at: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    values: dict[str, deque[float]] = field(default_factory=dict)

    def add(self, at: float, values: dict[str, float]) -> None:
        """Note one moment."""
        self.at.append(at)
        for name, value in values.items():
            kept = self.values.get(name)
            if kept is None:
                kept = self.values[name] = deque([0.0] * (len(self.at) - 1), maxlen=HISTORY)
            kept.append(value)

    def of(self, name: str) -> list[float]:
        """The values of one figure, oldest first."""
        return list(self.values.get(name, ()))

    def since(self, name: str, span_s: float) -> list[tuple[float, float]]:
        """(seconds before the last entry, value) pairs of the last `span_s` seconds, oldest first."""
        if not self.at:
            return []
        last = self.at[-1]
        kept = self.values.get(name, ())
        return [(at - last, value) for at, value in zip(self.at, kept, strict=False) if last - at <= span_s]

    def growth(self, name: str, span_s: float = 60.0) -> float:
        """Per second, over about the last `span_s` seconds."""
        points = self.since(name, span_s)
        if len(points) < 2 or points[-1][0] <= points[0][0]:
            return 0.0
        return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])


def service_figures(service: Map) -> dict[str, float]:
    """The figures of a service that are kept over time; spans in ms."""
    wait, work = service.get("wait", {}), service.get("work", {})
    return {
        "waiting": float(service.get("waiting", 0)),
        "in_flight": float(service.get("in_flight", 0)),
        "rate": float(service.get("rate", 0.0)),
        "wait_p99": float(wait.get("p99_ms", 0.0)),
        "work_p50": float(work.get("p50_ms", 0.0)),
        "work_p99": float(work.get("p99_ms", 0.0)),
    }


def total_figures(services: list[Map]) -> dict[str, float]:
    """The figures of all services together; latency is that of the slowest. Spans in ms."""
    each = [service_figures(service) for service in services]
    return {
        "waiting": sum(figures["waiting"] for figures in each),
        "in_flight": sum(figures["in_flight"] for figures in each),
        "rate": sum(figures["rate"] for figures in each),
        "wait_p99": max((figures["wait_p99"] for figures in each), default=0.0),
        "work_p50": max((figures["work_p50"] for figures in each), default=0.0),
        "work_p99": max((figures["work_p99"] for figures in each), default=0.0),
    }
