"""Actions of an operator in the dashboard, with their consequences. Knows no Textual.

Rules:

1. Each function looks at the whole model and returns an `Action` with the question to ask first, or a `Refusal`.
2. A question names the consequences for others: whether a worker is the last of its service, what waits, what fails.
3. What leaves a node without a way back is refused. What can be undone says how.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dagbox.errors import Refused
from dagbox.problems import acts
from dagbox.text.amounts import format_count, format_size, plural
from dagbox.text.durations import format_duration, format_ms
from dagbox.tui.polling.model import NodeModel
from dagbox.tui.polling.request import Map
from dagbox.tui.polling.source import LiveSource


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        question: asked before it is done.
        reason: the consequences.
        run: does it; called on a thread. What it returns is not shown.
        done: told when it is done.
        harmful: whether work or data may be lost by it.
    """

    question: str
    reason: str
    run: Callable[[LiveSource], Any]
    done: str
    harmful: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An action that is not offered, and why."""

    reason: str


Offer = Action | Refusal


def _node(model: NodeModel) -> acts.Node:
    return acts.Node(model.list_of("workers"), model.list_of("services"))


def _gone(subject: str) -> Refusal:
    return Refusal(f"{subject} is not there any more")


# ---------------------------------------------------------------------- workers


def restart(model: NodeModel, name: str) -> Offer:
    """Have the node's supervisor start a worker's process anew."""
    if model.worker(name) is None:
        return start_again(name)
    try:
        consequences = acts.restart(_node(model), name)
    except Refused as error:
        return Refusal(error.reason)
    return Action(
        f"Restart worker {name}?",
        consequences,
        lambda source: source.node("restart", worker=name),
        f"{name} restarts",
        harmful=True,
    )


def start_again(name: str) -> Action:
    """Have the node's supervisor start a worker that was drained."""
    return Action(
        f"Start worker {name} again?",
        "The node starts its process, if it is one of its own that was drained.",
        lambda source: source.node("restart", worker=name),
        f"{name} starts",
    )


def drain(model: NodeModel, name: str) -> Offer:
    """Have a worker finish what it has in hand and go."""
    worker = model.worker(name)
    if worker is None:
        return _gone(name)
    if worker["state"] == "dead":
        return Refusal(f"{name} is dead: r restarts it, f takes it off the list")
    try:
        consequences = acts.drain(_node(model), name, "u")
    except Refused as error:
        return Refusal(error.reason)
    return Action(
        f"Drain worker {name}?",
        consequences,
        lambda source: source.control("drain", worker=name),
        f"{name} drains",
        harmful=True,
    )


def forget(model: NodeModel, name: str) -> Offer:
    """Take a dead worker off the list."""
    worker = model.worker(name)
    if worker is None:
        return _gone(name)
    if worker["state"] != "dead":
        return Refusal(f"{name} is {worker['state']}: only dead workers are forgotten")
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
        "The node starts one more reader process. To undo: R on it.",
        lambda source: source.node("add_reader"),
        "a reader starts",
    )


def remove_worker(model: NodeModel, name: str) -> Offer:
    """Have the node's supervisor end a worker for good."""
    worker = model.worker(name)
    if worker is None:
        return _gone(name)
    service = worker["service"]
    if service == acts.SUPERVISOR:
        return Refusal(f"{name} is the supervisor itself: stop the node instead")
    if service != "reader" and not acts.others(_node(model), worker):
        return Refusal(
            f"{name} is the last worker of {service}, and nothing would bring it back. Drain it (d), or restart it (r)"
        )
    undo = "To undo: a adds a reader." if service == "reader" else "Only a restart of the node brings it back."
    return Action(
        f"Remove worker {name} from the node?",
        f"{acts.in_hand(worker)} Its process ends and is not started again. "
        f"{acts.left_to_others(_node(model), worker, 'From then on')} {undo}",
        lambda source: source.node("remove", worker=name),
        f"{name} is removed",
        harmful=True,
    )


def stop_node(model: NodeModel) -> Action:
    """Leave the dashboard that the node was started with."""
    broker = model.map_of("broker")
    clients, requests = int(broker.get("clients", 0)), int(broker.get("requests", 0))
    return Action(
        "Leave, and stop the node?",
        f"The node was started with this dashboard and stops with it: {plural(clients, 'client')}, "
        f"{plural(requests, 'request')} under way. To leave a node running, start it with dagbox up --headless.",
        lambda source: None,
        "the node stops",
        harmful=True,
    )


# ---------------------------------------------------------------------- services


def pause(model: NodeModel, name: str) -> Offer:
    """Have a service's requests wait."""
    service = model.service(name)
    if service is None:
        return _gone(name)
    return Action(
        f"Pause service {name}?",
        f"Requests (now {format_count(service['rate'])}/s) wait in its queue until it is resumed; those that reach "
        f"their deadline fail. {plural(service['in_flight'], 'request')} in hand {_is_are(service['in_flight'])} "
        "finished. To undo: p.",
        lambda source: source.control("pause", service=name),
        f"{name} is paused",
        harmful=True,
    )


def resume(model: NodeModel, name: str) -> Offer:
    """Have a paused service's requests go on."""
    service = model.service(name)
    if service is None:
        return _gone(name)
    workers = "" if service["live"] + service["late"] else " No worker serves it now: they go on waiting."
    waiting = service["waiting"]
    return Action(
        f"Resume service {name}?",
        f"{plural(waiting, 'request')} {'waits' if waiting == 1 else 'wait'} and will be handed out.{workers}",
        lambda source: source.control("resume", service=name),
        f"{name} goes on",
    )


def _is_are(number: int) -> str:
    return "is" if number == 1 else "are"


# ---------------------------------------------------------------------- dead letters


def _letter(model: NodeModel, number: int) -> Map | None:
    return next((each for each in model.list_of("dead_letters") if each["number"] == number), None)


def retry_letter(model: NodeModel, number: int) -> Offer:
    """Put a dead letter back into its queue."""
    letter = _letter(model, number)
    if letter is None:
        return _gone(f"dead letter {number}")
    service = model.service(letter["service"])
    served = "" if service and service["live"] + service["late"] else " No worker serves it now."
    return Action(
        f"Try dead letter {number} again?",
        f"The request goes back to {letter['service']}.{served} It may have had effects before its worker died. "
        "Its client had an error and gets no further answer.",
        lambda source: source.control("retry", number=number),
        f"dead letter {number} is tried again",
    )


def drop_letter(model: NodeModel, number: int) -> Offer:
    """Throw a dead letter away."""
    letter = _letter(model, number)
    if letter is None:
        return _gone(f"dead letter {number}")
    return Action(
        f"Drop dead letter {number}?",
        f"The request to {letter['service']} ({format_size(letter['bytes'])}) is forgotten. This cannot be undone.",
        lambda source: source.control("drop", number=number),
        f"dead letter {number} is dropped",
        harmful=True,
    )


def drop_all_letters(model: NodeModel) -> Offer:
    """Throw all dead letters away."""
    count = len(model.list_of("dead_letters"))
    if not count:
        return Refusal("there are no dead letters")
    return Action(
        f"Drop {'the one dead letter' if count == 1 else f'all {count} dead letters'}?",
        "The requests are forgotten, those that came meanwhile as well. This cannot be undone.",
        lambda source: source.control("drop"),
        "all dead letters are dropped",
        harmful=True,
    )


# ---------------------------------------------------------------------- locks


def release(model: NodeModel, key: str) -> Offer:
    """Take a lock away from its holders."""
    entries = [each for each in model.list_of("locks") if each["key"] == key]
    held = [each for each in entries if each["token"]]
    if not held:
        return Refusal(f"{key} is held by nobody")
    waiting = max((len(each["waiting"]) for each in entries if isinstance(each.get("waiting"), list)), default=0)
    owner = held[0]["owner"] or "its holder"
    whom = owner if len(held) == 1 else f"{owner} and {plural(len(held) - 1, 'other holder')}"
    left = max(each["left_ms"] for each in held)
    line = f" {plural(waiting, 'waiter')}: the first gets it." if waiting else " Nobody waits for it."
    return Action(
        f"Take the lock {key} away from {whom}?",
        f"Token {held[0]['token']}, {format_ms(left)} left.{line} The holder is not stopped: what it still writes "
        "with its token is refused once the next holder has the lock.",
        lambda source: source.release(key),
        f"{key} is released",
        harmful=True,
    )


# ---------------------------------------------------------------------- requests


def let_go(model: NodeModel, request_id: str) -> Offer:
    """Let a held request go on."""
    held = next((each for each in model.list_of("held") if each["id"] == request_id), None)
    if held is None:
        return _gone(f"request {request_id}")
    service = model.service(held["service"])
    paused = " The service is paused: it waits there." if service and service["paused"] else ""
    return Action(
        f"Let request {request_id} go?",
        f"It goes into the queue of {held['service']}.{paused}",
        lambda source: source.control("let_go", id=request_id),
        f"{request_id} goes on",
    )


def cancel(model: NodeModel, request_id: str) -> Offer:
    """End a request with `cancelled`."""
    found = [each for part in ("held", "open") for each in model.list_of(part) if each["id"] == request_id]
    if not found:
        return _gone(f"request {request_id}")
    request = found[0]
    begun = " A worker has it: what it has done by then stays." if request.get("state") == "given" else ""
    return Action(
        f"Cancel request {request_id}?",
        f"Its client gets the error cancelled; it asked for {request['service']}.{begun}",
        lambda source: source.control("cancel", id=request_id),
        f"{request_id} is cancelled",
        harmful=True,
    )


def set_break(model: NodeModel, service: str, bucket: str, key: str, span_s: float) -> Offer:
    """Hold the next request that matches."""
    criteria = [(name, value) for name, value in (("service", service), ("bucket", bucket), ("key", key)) if value]
    if not criteria:
        return Refusal("a break names a service, a bucket or a key")
    what = " ".join(f"{name} {value}" for name, value in criteria)
    unknown = " No such service is known yet." if service and model.service(service) is None else ""
    return Action(
        f"Hold the next request with {what}?",
        f"It stays in its queue until it is let go or cancelled, for {format_duration(span_s, whole=True)} at most, "
        f"and fails if its deadline comes first.{unknown} While the break is set, bodies are looked into.",
        lambda source: source.control("break", service=service, bucket=bucket, key=key, ttl_ms=int(span_s * 1000)),
        f"a break is set on {what}",
        harmful=True,
    )


def unset_break(model: NodeModel, number: int) -> Offer:
    """Take a break away."""
    if all(each["number"] != number for each in model.list_of("breaks")):
        return _gone(f"break {number}")
    return Action(
        f"Remove break {number}?",
        "Requests that it holds already stay held.",
        lambda source: source.control("unbreak", number=number),
        f"break {number} is removed",
    )


def clear_traces() -> Action:
    """Forget all traces."""
    return Action(
        "Forget all traces?",
        "Recent and slowest ones, for everybody who looks at this node. New requests are traced from now on.",
        lambda source: source.control("clear_traces"),
        "the traces are forgotten",
        harmful=True,
    )
