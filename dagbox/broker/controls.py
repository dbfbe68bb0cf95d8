"""The service "control": what an operator does. A body is {"op": ..., ...}; an unknown op is answered with the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dagbox.broker.breakpoints import DEFAULT_S, Breakpoints
from dagbox.broker.lifecycle import Lifecycle
from dagbox.broker.model import ServiceEntry
from dagbox.broker.views import Body, Views, number
from dagbox.broker.workers import WorkerRegistry
from dagbox.errors import InvalidArgument, shown_value

_SHORTEST_ID = 8
"""Characters of a request's id that must be given to cancel it."""


class Controls:
    """Does what an operator asks: by the lifecycle for requests, by the registry for workers."""

    def __init__(self, requests: Lifecycle, workers: WorkerRegistry, breakpoints: Breakpoints, views: Views) -> None:
        self._requests = requests
        self._registry = workers
        self._breakpoints = breakpoints
        self._views = views
        self._operations: dict[str, Callable[[Body, float], Any]] = {
            "pause": self._pause,
            "resume": self._resume,
            "drain": self._drain,
            "forget": lambda body, _: workers.forget(body.get("worker")),
            "dead_letters": views.dead_letters,
            "retry": self._retry,
            "drop": self._drop,
            "break": self._set_break,
            "breaks": views.breaks,
            "unbreak": lambda body, _: breakpoints.unset(body.get("number")),
            "held": views.held,
            "clients": views.clients,
            "let_go": self._let_go,
            "cancel": self._cancel,
            "clear_traces": self._clear_traces,
        }

    def control(self, body: Body, now: float) -> Any:
        """Do one operation; return its result.

        Raises:
            InvalidArgument: there is no such operation, or not of this.
        """
        op = body.get("op")
        operation = self._operations.get(op) if isinstance(op, str) else None
        if operation is None:
            known = ", ".join(sorted(self._operations))
            raise InvalidArgument(f"no control {shown_value(op)}: the controls are {known}")
        return operation(body, now)

    def _service(self, body: Body) -> ServiceEntry:
        name = body.get("service")
        service = self._requests.services.get(name.encode(errors="replace")) if isinstance(name, str) else None
        if service is None:
            known = ", ".join(self._requests.directory.names())
            raise InvalidArgument(f"no service {shown_value(name)}: the services are {known}")
        return service

    def _pause(self, body: Body, now: float) -> bool:
        service = self._service(body)
        service.queue.paused = True
        self._requests.events.add(now, "paused", service.name, "requests wait until it is resumed")
        return True

    def _resume(self, body: Body, now: float) -> bool:
        service = self._service(body)
        service.queue.paused = False
        self._requests.events.add(now, "resumed", service.name, f"{service.queue.waiting} requests waited")
        self._requests.dispatch(service, now)
        return True

    def _drain(self, body: Body, now: float) -> bool:
        name = body.get("worker")
        for worker in list(self._registry.connected.values()):
            if worker.name == name:
                self._registry.drain(worker, now)
                return True
        raise InvalidArgument(f"no worker {shown_value(name)}")

    # ------------------------------------------------------------------ dead letters and traces

    def _retry(self, body: Body, now: float) -> bool:
        letters = self._requests.dead_letters
        letter = letters.take(number(body, "number", 0))
        if letter is None:
            raise InvalidArgument(f"no dead letter {shown_value(body.get('number'))}")
        if not self._requests.retry(letter, now):
            letters.put_back(letter)
            raise InvalidArgument(f"dead letter {letter.number} cannot be tried again now")
        return True

    def _drop(self, body: Body, now: float) -> int:
        letters = self._requests.dead_letters
        if "number" not in body:
            return letters.clear()
        if letters.take(number(body, "number", 0)) is None:
            raise InvalidArgument(f"no dead letter {shown_value(body.get('number'))}")
        return 1

    def _clear_traces(self, body: Body, now: float) -> bool:
        self._requests.traces.clear()
        return True

    # ------------------------------------------------------------------ breakpoints and requests

    def _set_break(self, body: Body, now: float) -> int:
        parts = {name: body.get(name, "") for name in ("service", "bucket", "key")}
        if not all(isinstance(part, str) for part in parts.values()) or not any(parts.values()):
            raise InvalidArgument("a break names a service, a bucket or a key (text)")
        span_s = number(body, "ttl_ms", int(DEFAULT_S * 1000)) / 1000
        made = self._breakpoints.set(parts["service"], parts["bucket"], parts["key"], span_s, now)
        self._requests.events.add(now, "break set", str(made.number), " ".join(p for p in parts.values() if p))
        return made.number

    def _let_go(self, body: Body, now: float) -> bool:
        identity = body.get("id")
        for request in self._views.held_requests():
            if isinstance(identity, str) and identity and request.trace_id.startswith(identity):
                self._requests.release(request, now)
                return True
        raise InvalidArgument(f"no held request {shown_value(identity)}")

    def _cancel(self, body: Body, now: float) -> bool:
        """Cancel any request by its id: held, waiting or in a worker's hands."""
        identity = body.get("id")
        for request in list(self._requests.requests.values()):
            if isinstance(identity, str) and len(identity) >= _SHORTEST_ID and request.trace_id.startswith(identity):
                if request.answered:
                    break
                self._requests.cancel_request(request, now)
                return True
        raise InvalidArgument(f"no request {shown_value(identity)} under way")
