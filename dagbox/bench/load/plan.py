"""The work of a run: which requests, how many at once, on which records. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

READING = ("get", "fetch", "scan")
WRITING = ("put", "batch", "mixed", "lock")
OTHERS = ("query", "call")
WORKLOADS = (*READING, *WRITING, *OTHERS)
CUSTOM = "custom"
DISTRIBUTIONS = ("zipf", "uniform")

BUCKET = "dagbox-bench"
"""The bucket of the records that a run makes; the same each time, since a bucket keeps its place when it is emptied."""
LISTS = "dagbox-bench-lists"
"""The bucket of the records that `fetch` begins at."""
PREDICATE = "dagbox_bench"
LOCK = "dagbox-bench"
"""Held while a run is at work, so that two do not share the bucket; and the beginning of the names of its locks."""
SERVICE = "dagbox-bench"
"""The service that `call` calls: a worker of this program that returns what it is given."""
KEY_PREFIX = "bench-"
MEMBERS = 10
"""Records that a `fetch` brings along."""
PAGE = 100
"""Records that a `scan` reads."""
BATCH = 100
"""Records that a `batch` writes."""
LEAST_SIZE = 32

Keys = Callable[[], str]
"""Chooses the key of a record."""
Request = Callable[[], Any]
"""Makes one request and returns once it is answered and the values in the answer are decoded."""
AwaitedRequest = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The work of a run.

    Args:
        workload: one of `WORKLOADS`, or `CUSTOM`.
        custom: the path of the program, for `CUSTOM`.
        clients: connections, each with a thread of its own.
        in_flight: requests that each of them has in flight.
        size: bytes of a record's data, packed.
        keys: how many records there are.
        distribution: how often each is asked for.
        duration_s: seconds that requests are begun.
        rate: requests to begin a second, by all clients together; 0: each client asks as soon as it is answered.
        reads: the share of reads in `mixed`.
        seed: of the random choices.
        bucket: the bucket to work in.
        own: True if the records are made for the run and removed after it.
    """

    workload: str = "get"
    custom: str = ""
    clients: int = 1
    in_flight: int = 1
    size: int = 200
    keys: int = 10_000
    distribution: str = "zipf"
    duration_s: float = 10.0
    rate: float = 0.0
    reads: float = 0.9
    seed: int = 1
    bucket: str = BUCKET
    own: bool = True

    @property
    def slots(self) -> int:
        """Requests that may be in flight, of all clients together."""
        return self.clients * self.in_flight

    @property
    def writes(self) -> bool:
        """True if the requests themselves change something, or may."""
        return self.workload in WRITING or self.workload == CUSTOM

    @property
    def needs_lists(self) -> bool:
        """True if there must be records that list others."""
        return self.own and self.workload == "fetch"

    def as_map(self) -> dict[str, Any]:
        """Return the plan as a plain map."""
        return asdict(self)

    @classmethod
    def from_map(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan of a map; fields that this version does not know are passed over."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


def key_of(number: int) -> str:
    """Return the key of the record with a number; keys sort as their numbers do."""
    return f"{KEY_PREFIX}{number:010d}"


def record_of(size: int) -> dict[str, str]:
    """Return data that takes `size` bytes when it is packed with MessagePack; at least `LEAST_SIZE`."""
    # A map of two (1), "name" (5), a text of 3 (4), "text" (5), and the head of a text, which grows with it.
    rest = max(size, LEAST_SIZE) - 15
    head = 1 if rest - 1 < 32 else 2 if rest - 2 < 256 else 3 if rest - 3 < 65_536 else 5
    return {"name": "Ada", "text": "x" * (rest - head)}


def share(total: int, parts: int) -> list[int]:
    """Divide a whole number into parts that differ by one at most; parts of nothing are left out."""
    each, more = divmod(total, parts)
    return [count for count in (each + (part < more) for part in range(parts)) if count]
