"""A broker on a table: virtual clock, named peers, messages as readable tuples."""

from __future__ import annotations

from typing import Any

from dagbox.broker import Broker, BrokerLimits
from dagbox.broker.outbox import Send
from dagbox.protocol import frames
from dagbox.protocol.claims import asks_who
from dagbox.protocol.frames import Flag, Kind
from dagbox.protocol.values import pack, unpack
from tests.simulation.actors import check_invariants

EPOCH = b"an epoch"


def peer(name: str) -> bytes:
    """The routing id of a peer, from its name."""
    return name.encode().ljust(8, b".")


def number(count: int) -> bytes:
    """A request id."""
    return count.to_bytes(8, "big")


def _without_questions(sends: list[Send]) -> tuple[list[Send], list[bytes]]:
    """What is sent without PONGs that nobody asked for and that ask who a client is; and those clients."""
    asking = [
        send
        for send in sends
        if send[1][5] == Kind.PONG
        and send[1][frames.KEY_SLICE][8:] == bytes(8)
        and asks_who(send[1][frames.HEADER_BYTES :])
    ]
    return [send for send in sends if send not in asking], [peer for peer, _, _ in asking]


class Table:
    """Says things to a broker and reads what it sends: `(peer, kind, request, body or error code)` each."""

    def __init__(self, limits: BrokerLimits | None = None, expected: tuple[str, ...] = ()) -> None:
        self.now = 100.0
        self.broker = Broker(self.now, EPOCH, limits, expected)
        self.raw: list[tuple[bytes, bytes, bytes | None]] = []
        self.asked: list[bytes] = []
        """Clients that were asked who they are, of the broker's own accord. What else it sends is what tests read."""
        self.flooded = False
        """Whether there are always more messages to receive."""
        self.gone: tuple[str, ...] = ()
        """Peers without a connection: what is sent to them while time passes comes back."""

    def say(self, who: str | bytes, message: frames.Message) -> list[Any]:
        """Hand the broker a message of a peer; what it sends for it."""
        source = peer(who) if isinstance(who, str) else who
        return self.read(self.broker.receive(source, message.head, message.tail, self.now))

    def read(self, sends: list[tuple[bytes, bytes, bytes | None]]) -> list[Any]:
        sends, asked = _without_questions(sends)
        self.asked += asked
        self.raw = sends
        if not self.flooded:
            self.broker.caught_up_at = self.now
        check_invariants(self.broker)
        return [self._read_one(*send) for send in sends]

    @staticmethod
    def _read_one(target: bytes, head: bytes, tail: bytes | None) -> tuple[str, str, int, Any]:
        header = frames.parse(head)
        body = frames.body_of(header, head, tail)
        kind = Kind(header.kind)
        shown: Any = body
        if kind is Kind.ERROR:
            shown = frames.unpack_error(body).code
        elif kind is Kind.PONG:
            shown = unpack(body)["epoch"]
        return (
            target.decode(errors="replace").rstrip("."),
            kind.name.lower(),
            int.from_bytes(header.request, "big"),
            shown,
        )

    def sent_header(self, at: int = 0) -> frames.Header:
        """The header of one of the messages that the broker sent last."""
        return frames.parse(self.raw[at][1])

    def tick(self, seconds: float) -> list[Any]:
        """Let time pass in one step; what is sent at its end."""
        self.now += seconds
        return self.read(self.broker.tick(self.now))

    def run(self, seconds: float, beating: tuple[str, ...] = (), *, probes: bool = False) -> list[Any]:
        """Let time pass as a driver does, with signs of life of some workers (`name:service`).

        Args:
            probes: also return the signs of life that clients are sent unasked.
        """
        end, sent = self.now + seconds, []
        beat_at = self.now
        while self.now < end:
            self.now = min(max(self.broker.next_deadline(), self.now + 0.001), end, max(beat_at, self.now + 0.001))
            if self.now >= beat_at:
                beat_at = self.now + self.broker.limits.heartbeat_s
                for worker in beating:
                    name, _, service = worker.partition(":")
                    sent += self.ping(name, service)
            sent += self.read(self.broker.tick(self.now))
            for target, head, _ in self.raw:
                if target in [peer(name) for name in self.gone]:
                    sent += self.read(self.broker.undeliverable(target, head, self.now, "gone"))
        return [each for each in sent if each[0] not in self.gone and (probes or not self._is_probe(*each))]

    def _is_probe(self, who: str, kind: str, request: int, body: Any) -> bool:
        return kind == "pong" and not request and peer(who) in self.broker.directory.clients

    # ------------------------------------------------------------------ what peers say

    def ask(
        self,
        client: str,
        count: int,
        service: str = "reader",
        body: bytes = b"\x80",
        *,
        flags: int = 0,
        span_ms: int = 0,
        hops: int = 0,
    ) -> list[Any]:
        """A client's request."""
        message = frames.build(
            Kind.REQUEST,
            peer(client),
            number(count),
            service.encode(),
            body,
            flags=flags,
            deadline_ms=span_ms,
            hops=hops,
        )
        return self.say(client, message)

    def urgent(self, client: str, count: int, service: str = "reader") -> list[Any]:
        return self.ask(client, count, service, flags=Flag.URGENT)

    def cancel(self, client: str, count: int) -> list[Any]:
        return self.say(client, frames.build(Kind.CANCEL, peer(client), number(count), b"reader"))

    def register(self, worker: str, service: str = "reader", credit: int = 1, **about: Any) -> list[Any]:
        """A worker registers; repeatable unless it says otherwise."""
        body = pack({"name": worker, "credit": credit, "repeatable": True} | about)
        return self.say(worker, frames.build(Kind.REGISTER, peer(worker), bytes(8), service.encode(), body))

    def answer(
        self, worker: str, client: str, count: int, body: bytes = b"\xc0", kind: Kind = Kind.REPLY, flags: int = 0
    ) -> list[Any]:
        """A worker's answer."""
        return self.say(worker, frames.build(kind, peer(client), number(count), b"reader", body, flags=flags))

    def forward(
        self, worker: str, client: str, count: int, service: str | bytes, hops: int = 1, flags: int = 0
    ) -> list[Any]:
        """A worker passes a request on."""
        name = service.encode() if isinstance(service, str) else service
        message = frames.build(
            Kind.FORWARD, peer(client), number(count), name, b"\xa9forwarded", hops=hops, flags=flags
        )
        return self.say(worker, message)

    def ping(self, worker: str, service: str, in_hand: list[bytes] | None = None, **report: Any) -> list[Any]:
        """A worker's sign of life, from the socket of its own that it has for that."""
        body = pack(report if in_hand is None else report | {"in_hand": in_hand})
        return self.say(
            b"heart" + worker.encode(), frames.build(Kind.PING, peer(worker), bytes(8), service.encode(), body)
        )

    def leave(self, who: str, service: str = "") -> list[Any]:
        return self.say(who, frames.build(Kind.LEAVE, peer(who), bytes(8), service.encode()))

    def inspect(self, service: str, body: Any = None, client: str = "op") -> Any:
        """Ask one of the broker's own services; the answer, or the error (returned)."""
        self.ask(client, 999, service, pack({} if body is None else body))
        [(target, head, tail)] = [send for send in self.raw if send[0] == peer(client)]
        assert target == peer(client)
        header = frames.parse(head)
        value = unpack(frames.body_of(header, head, tail))
        assert (header.kind == Kind.ERROR) == isinstance(value, Exception)
        return value

    def control(self, op: str, **arguments: Any) -> Any:
        return self.inspect("control", {"op": op, **arguments})

    # ------------------------------------------------------------------ what is seen

    def events(self) -> list[str]:
        """`kind subject` of all events so far."""
        return [f"{event.kind} {event.subject}" for event in self.broker.lifecycle.events.recent]

    def state(self, worker: str) -> str:
        found = self.broker.workers.connected.get(peer(worker)) or self.broker.workers.dead.get(peer(worker))
        return found.state.value if found is not None else "unknown"

    def free(self, worker: str) -> int:
        return self.broker.workers.connected[peer(worker)].listed_free
