"""Spans of one's own: a handler tells what took its time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import dagbox
from dagbox.errors import InvalidArgument
from dagbox.protocol.notes import Note
from dagbox.services.base import Noting, Outcome, Request
from dagbox.services.function import FunctionService, ServiceRequest
from tests.client.nodes import serving
from tests.parents.test_clients import served_by
from tests.runtime.nodes import until

REQUEST = Request(b"client-1", (1).to_bytes(8, "big"), b"")


def ignore(outcome: Outcome) -> None: ...


def noting() -> tuple[ServiceRequest, list[Note]]:
    noted: list[Note] = []
    return ServiceRequest(REQUEST, ignore, noted.append), noted


def test_a_span_is_told_at_its_begin_and_at_its_end() -> None:
    request, noted = noting()
    with request.span("resize", "640x480"):
        assert [(note.request, note.what, note.who, note.ended) for note in noted] == [
            (REQUEST.key, "resize", "640x480", None)
        ]
    assert len(noted) == 2
    assert noted[1].began == noted[0].began <= (noted[1].ended or 0)


def test_a_span_ends_with_an_error_too() -> None:
    request, noted = noting()
    with pytest.raises(KeyError), request.span("resize"):
        raise KeyError
    assert noted[1].ended is not None


@pytest.mark.parametrize(("name", "text"), [("", ""), ("x" * 41, ""), (b"x", ""), ("x", None)])
def test_an_odd_name_is_refused_before_the_block(name: Any, text: Any) -> None:
    request, noted = noting()
    with pytest.raises(InvalidArgument, match="a span has a name"), request.span(name, text):
        raise AssertionError("not reached")
    assert noted == []


def test_outside_of_a_worker_a_span_is_told_to_nobody() -> None:
    with ServiceRequest(REQUEST, ignore).span("resize"):
        pass


def test_what_began_and_ended_is_told_once() -> None:
    inside, go_on = threading.Event(), threading.Event()

    @dagbox.service("work")
    def work(payload: Any, request: Any) -> None:
        with request.span("whole"):
            with request.span("first"):
                pass
            inside.set()
            assert go_on.wait(20)

    service = FunctionService(work)
    assert isinstance(service, Noting)
    service.handle([Request(b"client-1", (1).to_bytes(8, "big"), b"\xc0")], 0.0)
    assert inside.wait(20)
    assert [(note.what, note.ended is None) for note in service.notes()] == [("whole", True), ("first", False)]
    go_on.set()
    service.close()
    assert [(note.what, note.ended is None) for note in service.notes()] == [("whole", False)]


def test_spans_are_in_the_trace(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as address, dagbox.connect(address) as db:

        @dagbox.service("thumbnail")
        def thumbnail(payload: Any, request: Any) -> None:
            with request.span("load"):
                pass
            with request.span("resize", "640x480"):
                pass

        with served_by(address, thumbnail):
            db.call("thumbnail", None)

            def noted() -> list[Any]:
                return [(note.what, note.who, note.over) for note in db.traces(service="thumbnail")[0].notes]

            assert until(noted) == [("load", "", True), ("resize", "640x480", True)]
