"""The services and clients that the broker knows: bounded, and forgotten once nobody needs them."""

from __future__ import annotations

from itertools import islice

from dagbox.broker.model import BrokerLimits, ClientEntry, ServiceEntry
from dagbox.errors import Busy, InvalidArgument, ProtocolError
from dagbox.protocol.claims import UNKNOWN
from dagbox.protocol.frames import STATUS_SERVICES

_CLIENT_IDLE_S = 120.0
_PROBE_S = 10.0
"""Seconds of silence after which the broker looks whether a client is still there."""
_PROBE_WAITING_S = 2.0
"""The same of a client that waits for an answer: nobody needs it if the client is gone."""
_GONE_S = 4.0
"""Seconds for which a client that waits must be found gone: one whose connection broke is back within one."""
_MOST_PROBES = 50
"""Number of clients that are looked after at once."""
_MOST_ASKED = 200
"""Number of clients that are asked at once who they are."""
_RATE_S = 2.0
"""Seconds over which the rates of clients are taken."""
_FULL_HINT_MS = 1000
"""Milliseconds after which a client may try again that the broker has no room for."""


def no_room(service: bytes) -> Busy:
    """Return the error for a client that the broker has no room for."""
    return Busy(service.decode(errors="replace"), _FULL_HINT_MS)


def busy(service: ServiceEntry) -> Busy:
    """Return the error for a request that a queue has no room for: again when about half of it is done."""
    mean_s = service.work.total_s / service.work.count if service.work.count else 0.01
    workers = sum(worker.credit for worker in service.workers.values()) or 1
    hint_ms = int(mean_s * service.queue.waiting / workers * 1000)
    return Busy(service.name, min(max(hint_ms, 10), 5_000))


class Directory:
    """Services by name, clients by routing id.

    Args:
        expected: services that will be registered soon, so that requests for them wait rather than fail.
    """

    def __init__(self, limits: BrokerLimits, expected: tuple[str, ...]) -> None:
        self.limits = limits
        self.services: dict[bytes, ServiceEntry] = {name.encode(): ServiceEntry(name, True) for name in expected}
        self.clients: dict[bytes, ClientEntry] = {}
        self._new: dict[bytes, None] = {}
        """Clients that nobody has asked who they are."""
        self._sampled_at = 0.0
        self._expected = frozenset(expected)

    def names(self) -> list[str]:
        """Return the names of all services that can be asked for."""
        return sorted(s.name for s in self.services.values() if s.ever_served) + list(STATUS_SERVICES)

    def service_named(self, name: bytes, now: float, *, served: bool = False) -> ServiceEntry | None:
        """Return the service of a name, new if need be; None if there are too many.

        Args:
            served: a worker is about to serve it: names that clients made up do not count.

        Raises:
            InvalidArgument: the name is empty.
            ProtocolError: the name is not UTF-8.
        """
        service = self.services.get(name)
        if service is None:
            if not name:
                raise InvalidArgument("a request names a service")
            most = self.limits.services
            if len(self.services) >= most and not (served and self._served() < most):
                return None
            try:
                text = name.decode()
            except UnicodeDecodeError:
                raise ProtocolError("the service name is not UTF-8") from None
            service = self.services[name] = ServiceEntry(text)
            service.rates.sample(now, 0, 0)
        return service

    def _served(self) -> int:
        return sum(service.ever_served for service in self.services.values())

    def new_client(self, peer: bytes, now: float) -> ClientEntry | None:
        """Note a client that is not known yet; None if there are too many."""
        if len(self.clients) >= self.limits.clients:
            return None
        client = self.clients[peer] = ClientEntry(peer, now)
        self._new[peer] = None
        return client

    def forget(self, peer: bytes) -> None:
        """Forget a client, if it is known."""
        self.clients.pop(peer, None)
        self._new.pop(peer, None)

    def asks(self, client: ClientEntry) -> bool:
        """Return True if a client is to be asked who it is, with what it is sent now."""
        self._new.pop(client.peer, None)
        return client.claims is UNKNOWN

    def strangers(self) -> list[bytes]:
        """Return some of the clients that are to be asked who they are, since nothing else was sent to them yet; each
        once."""
        found = list(islice(self._new, _MOST_ASKED))
        for peer in found:
            del self._new[peer]
        return found

    def silent_clients(self, now: float) -> list[bytes]:
        """Return clients that have been silent, to be sent a sign of life; each now and then."""
        silent: list[bytes] = []
        for peer, client in self.clients.items():
            if now - max(client.last_at, client.probed_at) >= (_PROBE_WAITING_S if client.in_flight else _PROBE_S):
                if client.missed_at < client.probed_at:
                    client.missed_since = 0.0  # the last one reached it
                client.probed_at = now
                silent.append(peer)
                if len(silent) == _MOST_PROBES:
                    break
        return silent

    def note_gone(self, peer: bytes, now: float) -> None:
        """A sign of life found no connection: forget the client, once nothing that it waits for is left."""
        client = self.clients.get(peer)
        if client is not None:
            client.missed_at = now
            client.missed_since = client.missed_since or now
            if not client.in_flight:
                self.forget(peer)

    def gone_clients(self) -> set[bytes]:
        """Return clients that wait for answers and have been gone for long."""
        return {
            peer
            for peer, client in self.clients.items()
            if client.missed_since and client.missed_at - max(client.missed_since, client.last_at) >= _GONE_S
        }

    def forget_idle(self, now: float) -> None:
        """Forget services that nobody needs, and clients that have been silent; take the rates of the others."""
        for name, service in list(self.services.items()):
            if self._forgettable(service, now):
                del self.services[name]
        idle = [p for p, c in self.clients.items() if not c.in_flight and now - c.last_at > _CLIENT_IDLE_S]
        for peer in idle:
            self.forget(peer)
        span_s = now - self._sampled_at
        if span_s >= _RATE_S:
            self._sampled_at = now
            for client in self.clients.values():
                done = client.done
                client.rate = (done - client.sampled) / span_s
                client.sampled = done

    def _forgettable(self, service: ServiceEntry, now: float) -> bool:
        """Return True if nobody needs the service to be known; names must not add up to the limit over time."""
        queue = service.queue
        if queue.waiting or service.held or service.workers or queue.paused or service.name in self._expected:
            service.idle_since = 0.0
            return False
        if not service.ever_served:
            return True
        service.idle_since = service.idle_since or now
        return now - service.idle_since >= self.limits.forget_service_s
