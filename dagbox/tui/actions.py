"""What an operator can do from the dashboard: each act with the question it asks first. Knows no Textual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dagbox.tui.display import text
from dagbox.tui.polling.request import Map
from dagbox.tui.polling.source import LiveSource


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        question: what is asked before it is done.
        reason: what will come of it.
        run: does it; called on a thread. What it returns is not shown.
        done: what is said when it is done.
        harmful: whether work or data may be lost by it.
    """

    question: str
    reason: str
    run: Callable[[LiveSource], Any]
    done: str
    harmful: bool = False


def restart(worker: Map) -> Action:
    """Have the node's supervisor start a worker's process anew."""
    name = worker["name"]
    return Action(
        f"Restart worker {name}?",
        f"It has {worker['in_use']} requests in hand: they are finished, or done again by another worker.",
        lambda source: source.node("restart", worker=name),
        f"{name} restarts",
        harmful=True,
    )


def drain(worker: Map) -> Action:
    """Have a worker finish what it has in hand and go."""
    name = worker["name"]
    return Action(
        f"Drain worker {name}?",
        f"It gets no more requests, finishes the {worker['in_use']} it has in hand, and goes.",
        lambda source: source.control("drain", worker=name),
        f"{name} drains",
        harmful=True,
    )


def forget(worker: Map) -> Action:
    """Take a dead worker off the list."""
    name = worker["name"]
    return Action(
        f"Take the dead worker {name} off the list?",
        "If it comes back it joins again.",
        lambda source: source.control("forget", worker=name),
        f"{name} is off the list",
    )


def add_reader() -> Action:
    """Have the node's supervisor start one more reader."""
    return Action(
        "Add a reader?",
        "The node starts one more reader process.",
        lambda source: source.node("add_reader"),
        "a reader starts",
    )


def remove_worker(worker: Map) -> Action:
    """Have the node's supervisor end a worker for good."""
    name = worker["name"]
    return Action(
        f"Remove worker {name} from the node?",
        "Its process ends and is not started again.",
        lambda source: source.node("remove", worker=name),
        f"{name} is removed",
        harmful=True,
    )


def pause(service: Map) -> Action:
    """Have a service's requests wait."""
    name = service["name"]
    return Action(
        f"Pause service {name}?",
        "Requests wait in its queue until it is resumed; those that reach their deadline fail.",
        lambda source: source.control("pause", service=name),
        f"{name} is paused",
        harmful=True,
    )


def resume(service: Map) -> Action:
    """Have a paused service's requests go on."""
    name = service["name"]
    return Action(
        f"Resume service {name}?",
        f"{service['waiting']} requests wait and will be handed out.",
        lambda source: source.control("resume", service=name),
        f"{name} goes on",
    )


def retry_letter(letter: Map) -> Action:
    """Put a dead letter back into its queue."""
    number = letter["number"]
    return Action(
        f"Try dead letter {number} again?",
        f"The request goes back to {letter['service']}. Its client had an error and gets no further answer.",
        lambda source: source.control("retry", number=number),
        f"dead letter {number} is tried again",
    )


def drop_letter(letter: Map) -> Action:
    """Throw a dead letter away."""
    number = letter["number"]
    return Action(
        f"Drop dead letter {number}?",
        f"The request to {letter['service']} ({text.size(letter['bytes'])}) is forgotten.",
        lambda source: source.control("drop", number=number),
        f"dead letter {number} is dropped",
        harmful=True,
    )


def drop_all_letters(count: int) -> Action:
    """Throw all dead letters away."""
    return Action(
        f"Drop all {count} dead letters?",
        "The requests are forgotten.",
        lambda source: source.control("drop"),
        "all dead letters are dropped",
        harmful=True,
    )


def release(lock: Map) -> Action:
    """Take a lock away from its holders."""
    key = lock["key"]
    return Action(
        f"Take the lock {key} away from {lock['owner'] or 'its holder'}?",
        f"Token {lock['token']}, {text.span(lock['left_ms'])} left. The holder is not stopped: what it still writes "
        "with its token is refused once the next holder has written.",
        lambda source: source.release(key),
        f"{key} is released",
        harmful=True,
    )


def let_go(held: Map) -> Action:
    """Let a held request go on."""
    return Action(
        f"Let request {held['id']} go?",
        f"It goes into the queue of {held['service']}.",
        lambda source: source.control("let_go", id=held["id"]),
        f"{held['id']} goes on",
    )


def cancel(request: Map) -> Action:
    """End a request with `cancelled`."""
    return Action(
        f"Cancel request {request['id']}?",
        f"Its client gets the error cancelled; it asked for {request['service']}.",
        lambda source: source.control("cancel", id=request["id"]),
        f"{request['id']} is cancelled",
        harmful=True,
    )


def set_break(service: str, bucket: str, key: str, span_s: float) -> Action:
    """Hold the next request that matches."""
    what = " ".join(
        f"{name} {value}" for name, value in (("service", service), ("bucket", bucket), ("key", key)) if value
    )
    return Action(
        f"Hold the next request with {what}?",
        f"It stays in its queue until it is let go or cancelled, for {text.long_span(span_s)} at most. "
        "While the break is set, bodies are looked into.",
        lambda source: source.control("break", service=service, bucket=bucket, key=key, ttl_ms=int(span_s * 1000)),
        f"a break is set on {what}",
        harmful=True,
    )


def unset_break(each: Map) -> Action:
    """Take a break away."""
    return Action(
        f"Remove break {each['number']}?",
        "Requests that it holds already stay held.",
        lambda source: source.control("unbreak", number=each["number"]),
        f"break {each['number']} is removed",
    )


def clear_traces() -> Action:
    """Forget all traces."""
    return Action(
        "Forget all traces?",
        "Recent and slowest ones; new requests are traced from now on.",
        lambda source: source.control("clear_traces"),
        "the traces are forgotten",
        harmful=True,
    )
