"""Metrics of a node for Prometheus: read from the node at every scrape, served on loopback."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from socketserver import ThreadingMixIn
from time import time as clock
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import dagbox
from dagbox.errors import requires_extra
from dagbox.problems import BAD, PARTS, RULES, Board, Problem, asks_locks, check

with requires_extra("serving metrics to Prometheus", "metrics"):
    from prometheus_client import CollectorRegistry, make_wsgi_app
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

ASK_S = 3.0
"""Timeout of a scrape, in seconds."""
CONNECTION_S = 10.0
"""Seconds that a connection may keep silent before it is dropped."""
LOCKS_ASKED = 1_000
STATES = ("live", "late", "draining", "dead")

_SERVICE_GAUGES = {
    "waiting": "Requests waiting in the queue.",
    "waiting_bytes": "Bytes of the requests waiting in the queue.",
    "held": "Requests held by a breakpoint.",
    "in_flight": "Requests in flight at workers.",
    "in_line": "Requests in flight that workers keep until their turn comes.",
}
_SERVICE_COUNTERS = {
    "done": "Requests completed.",
    "errors": "Requests that ended in an error.",
    "failed_ops": "Operations refused, or failed beside others of one request.",
    "refused": "Requests refused because the queue was full.",
    "redelivered": "Requests redelivered to another worker.",
}
_BROKER_COUNTERS = {
    "accepted": "Requests accepted.",
    "answered": "Requests answered.",
    "failed": "Requests that ended in an error.",
    "refused": "Requests refused.",
    "expired": "Requests that reached their deadline.",
    "cancelled": "Requests cancelled by their client.",
    "abandoned": "Requests ended because their client was gone.",
    "redelivered": "Requests redelivered to another worker.",
    "forwarded": "Requests forwarded by a worker.",
    "partials": "Partial replies.",
    "repeats": "Repeats of requests in flight.",
    "late_replies": "Replies from workers that had lost their request.",
    "malformed": "Messages that did not parse.",
    "undeliverable": "Replies that could not be sent.",
    "bytes_in": "Bytes received.",
    "bytes_out": "Bytes sent.",
}
_BROKER_GAUGES = {
    "clients": "Known clients.",
    "requests": "Requests in flight.",
    "dead_letters": "Dead letters kept.",
}
_STORE_GAUGES = {
    "used_bytes": "Bytes in use in the store's file.",
    "map_size": "Size of the store's map in bytes.",
    "disk_free": "Bytes free on the disk of the store.",
    "readers": "Reader slots in use.",
    "oldest_snapshot_s": "Age of the oldest open snapshot in seconds.",
    "version": "Version of the last commit.",
}
_STORE_COUNTERS = {
    "commits": "Commits.",
    "batches": "Batches committed.",
    "commit_seconds": "Seconds spent in commits.",
}


class NodeCollector(Collector):
    """Asks a node for its status at every scrape.

    Args:
        target: a directory or URL; None for DAGBOX_URL.
    """

    def __init__(self, target: str | None) -> None:
        self._target = target
        self._mutex = threading.Lock()
        self._db: dagbox.Database | None = None
        self._board = Board()

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the node is not asked at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics; `dagbox_up` is 0 if the node does not answer."""
        up = GaugeMetricFamily("dagbox_up", "1 if the node answers.")
        status = self._status()
        up.add_metric([], 0.0 if status is None else 1.0)
        yield up
        if status is not None:
            yield from metrics_of(status)
            yield problem_metric(self._problems(status))

    def close(self) -> None:
        """Close the connection. Idempotent."""
        with self._mutex:
            self._drop()

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _status(self) -> dict[str, Any] | None:
        with self._mutex:
            try:
                if self._db is None:
                    self._db = dagbox.connect(self._target, timeout=ASK_S, direct=False, tool=True)
                answer = self._ask(self._db)
            except dagbox.DagBoxError:
                self._drop()
                return None
        return answer if isinstance(answer, dict) else None

    def _ask(self, db: dagbox.Database) -> Any:
        """Ask for the status, with what the rules of problems look at."""
        parts = {**PARTS, "events": {"after": self._board.seq}}
        answer = db.call("status", {"course": False, "parts": parts}, timeout=ASK_S, repeatable=True)
        if isinstance(answer, dict) and asks_locks(answer):
            # Who waits for locks is told with the rest, or not at all.
            with suppress(dagbox.DagBoxError):
                asked = {"op": "list", "limit": LOCKS_ASKED}
                answer["locks"] = db.call("lock", asked, timeout=ASK_S, repeatable=True, untraced=True)
        return answer

    def _problems(self, status: dict[str, Any]) -> list[Problem]:
        with self._mutex:
            self._board.take({**status, "at": clock()})
            return check(self._board)


def metrics_of(status: dict[str, Any]) -> Iterator[Metric]:
    """Yield the metrics of a status."""
    yield from _broker_metrics(status["broker"])
    yield from _service_metrics(status["services"])
    yield from _worker_metrics(status["workers"])
    yield from _store_metrics(status.get("store") or {})


def problem_metric(problems: list[Problem]) -> Metric:
    """Return how many problems each rule finds; a rule that finds none has 0."""
    numbers = Counter(problem.rule for problem in problems)
    rows = [([rule.name, "bad" if rule.sign == BAD else "watch"], float(numbers[rule.name])) for rule in RULES]
    return _gauge("dagbox_problem", "Problems that a rule finds.", ["rule", "severity"], rows)


def _gauge(name: str, about: str, labels: list[str], rows: Iterable[tuple[list[str], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _counter(name: str, about: str, labels: list[str], rows: Iterable[tuple[list[str], float]]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, about, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _broker_metrics(broker: dict[str, Any]) -> Iterator[Metric]:
    yield _gauge("dagbox_uptime_seconds", "Seconds since the broker started.", [], [([], broker["uptime_ms"] / 1000)])
    for name, about in _BROKER_GAUGES.items():
        yield _gauge(f"dagbox_{name}", about, [], [([], broker[name])])
    for name, about in _BROKER_COUNTERS.items():
        yield _counter(f"dagbox_broker_{name}", about, [], [([], broker.get(name, 0))])


def _service_metrics(services: list[dict[str, Any]]) -> Iterator[Metric]:
    for name, about in _SERVICE_GAUGES.items():
        rows = [([each["name"]], each[name]) for each in services]
        yield _gauge(f"dagbox_service_{name}", about, ["service"], rows)
    for name, about in _SERVICE_COUNTERS.items():
        rows = [([each["name"]], each.get(name, 0)) for each in services]
        yield _counter(f"dagbox_service_{name}", about, ["service"], rows)
    for name, about in (("done", "Calls that clients made themselves."), ("errors", "Those of them that failed.")):
        rows = [([each["name"]], (each.get("direct") or {}).get(name, 0)) for each in services]
        yield _counter(f"dagbox_service_direct_{name}", about, ["service"], rows)
    paused = [([each["name"]], float(each["paused"])) for each in services]
    yield _gauge("dagbox_service_paused", "1 if the service is paused.", ["service"], paused)
    states = [([each["name"], state], each[state]) for each in services for state in STATES]
    yield _gauge("dagbox_service_workers", "Workers of the service by state.", ["service", "state"], states)
    for group, about in (
        ("wait", "Time in the queue"),
        ("work", "Time at a worker"),
        ("line", "Time that a worker kept a request until its turn came"),
    ):
        rows = [
            ([each["name"], quantile], each[group][f"{name}_ms"] / 1000)
            for each in services
            for name, quantile in (("p50", "0.5"), ("p90", "0.9"), ("p99", "0.99"), ("max", "1"))
        ]
        yield _gauge(f"dagbox_service_{group}_seconds", f"{about}, recently.", ["service", "quantile"], rows)


def _worker_metrics(workers: list[dict[str, Any]]) -> Iterator[Metric]:
    labels = ["service", "worker"]

    def rows(name: str, scale: float = 1.0) -> list[tuple[list[str], float]]:
        return [([each["service"], each["name"]], each.get(name, 0) * scale) for each in workers]

    alive = [([each["service"], each["name"]], float(each["state"] in ("live", "draining"))) for each in workers]
    yield _gauge("dagbox_worker_up", "1 if the worker's heartbeat is in time.", labels, alive)
    yield _gauge("dagbox_worker_heard_seconds", "Seconds since its last heartbeat.", labels, rows("heard_ms", 0.001))
    yield _gauge("dagbox_worker_in_use", "Requests in flight at the worker.", labels, rows("in_use"))
    yield _gauge("dagbox_worker_credit", "Requests that the worker may have in flight.", labels, rows("credit"))
    yield _gauge("dagbox_worker_cpu_percent", "CPU of its process; 100 is one core.", labels, rows("cpu"))
    yield _gauge("dagbox_worker_memory_bytes", "Memory of its process.", labels, rows("rss"))
    yield _counter("dagbox_worker_done", "Requests it answered.", labels, rows("done"))
    yield _counter("dagbox_worker_errors", "Requests it answered with an error.", labels, rows("errors"))
    about = "Operations it refused, or that failed beside others."
    yield _counter("dagbox_worker_failed_ops", about, labels, rows("failed_ops"))


def _store_metrics(store: dict[str, Any]) -> Iterator[Metric]:
    for name, about in _STORE_GAUGES.items():
        if isinstance(store.get(name), int | float):
            unit = name.replace("_s", "_seconds") if name.endswith("_s") else name
            yield _gauge(f"dagbox_store_{unit}", about, [], [([], store[name])])
    for name, about in _STORE_COUNTERS.items():
        if isinstance(store.get(name), int | float):
            yield _counter(f"dagbox_store_{name}", about, [], [([], store[name])])
    for name, unit in (("entries", "records"), ("bytes", "bytes")):
        buckets = store.get(name)
        if isinstance(buckets, dict):
            rows = [([bucket], float(value)) for bucket, value in buckets.items()]
            yield _gauge(f"dagbox_bucket_{unit}", f"{unit.capitalize()} of each bucket.", ["bucket"], rows)


class _Quiet(WSGIRequestHandler):
    timeout = CONNECTION_S

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do not log scrapes."""

    def handle(self) -> None:
        """Serve one request; a connection that says nothing, or goes away, is dropped without a word."""
        with suppress(OSError):
            super().handle()


class _Server(ThreadingMixIn, WSGIServer):
    """Serves each connection on a thread of its own, so that none holds up the others."""

    daemon_threads = True


@contextmanager
def serving_metrics(target: str | None, port: int) -> Iterator[str]:
    """Serve a node's metrics at http://127.0.0.1:PORT/metrics while the block runs.

    Args:
        target: the node: a directory or URL; None for DAGBOX_URL.
        port: 0 for any free port.

    Yields:
        The URL.

    Raises:
        dagbox.InvalidArgument: the port is taken.
    """
    collector = NodeCollector(target)
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        server = make_server("127.0.0.1", port, make_wsgi_app(registry), _Server, _Quiet)
    except OSError as error:
        collector.close()
        raise dagbox.InvalidArgument(f"cannot serve metrics on port {port}: {error.strerror}") from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        collector.close()
