"""Messages and frames: there and back, byte by byte as documented, and whatever is not a message refused."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.errors import Busy, DagBoxError, LimitExceeded, ProtocolError, error_from_wire
from dagbox.protocol import frames
from dagbox.protocol.frames import Flag, Kind
from dagbox.protocol.values import pack, unpack
from tests.effort import examples

IDS = st.binary(min_size=8, max_size=8)
HEADS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([int(kind) for kind in Kind]),
        "client": IDS,
        "request": IDS,
        "service": st.binary(max_size=frames.MAX_SERVICE_BYTES),
        "body": st.one_of(
            st.binary(max_size=300), st.just(bytes(frames.TAIL_BYTES - 1)), st.just(bytes(frames.TAIL_BYTES))
        ),
        "flags": st.sampled_from([0, 2, 4, 6, 0x8000]),
        "deadline_ms": st.integers(0, 2**32 - 1),
        "hops": st.integers(0, 255),
        "attempt": st.integers(0, 255),
    }
)


@given(HEADS)
def test_there_and_back(parts: dict[str, Any]) -> None:
    message = frames.build(**parts)
    header = frames.parse(message.head)
    assert header.kind == parts["kind"]
    assert (header.client, header.request, header.service) == (parts["client"], parts["request"], parts["service"])
    assert (header.deadline_ms, header.hops, header.attempt) == (parts["deadline_ms"], parts["hops"], parts["attempt"])
    assert header.flags & ~Flag.TAIL == parts["flags"]
    assert frames.body_of(header, message.head, message.tail) == parts["body"]
    assert message.head[frames.KEY_SLICE] == parts["client"] + parts["request"]
    assert (message.tail is not None) == (len(parts["body"]) >= frames.TAIL_BYTES) == bool(header.flags & Flag.TAIL)


def test_a_large_body_is_not_copied() -> None:
    body = bytes(frames.TAIL_BYTES)
    message = frames.build(Kind.REQUEST, bytes(8), bytes(8), b"s", body)
    assert message.tail is body
    assert frames.body_of(frames.parse(message.head), message.head, message.tail) is body


def test_the_offsets_of_the_table_in_the_docstring_are_those_of_the_struct() -> None:
    rows = re.findall(r"^ +(\d+) +(\d+)  (\S+)", frames.__doc__ or "", re.MULTILINE)
    sizes = {"B": 1, "H": 2, "I": 4}
    expected, at = [], 0
    for count, code in re.findall(r"(\d*)([sBHI])", frames.HEADER.format.lstrip(">")):
        size = int(count) if code == "s" else sizes[code]
        expected.append((at, size))
        at += size
    assert [(int(offset), int(size)) for offset, size, _ in rows] == expected
    assert at == frames.HEADER_BYTES == 32


def test_bytes_on_the_wire_as_documented() -> None:
    head = frames.build(
        Kind.FORWARD, b"clientid", b"reqstid.", b"reader", b"\x93", flags=6, deadline_ms=5000, hops=3, attempt=2
    ).head
    by_hand = b"DGBX" + bytes([2, 11]) + struct.pack(">H", 6) + b"clientid" + b"reqstid."
    by_hand += struct.pack(">I", 5000) + bytes([3, 2, 6, 0]) + b"reader" + b"\x93"
    assert head == by_hand


def test_kinds_and_flags_have_the_documented_numbers() -> None:
    kinds = "register ping pong request reply reconnect error partial cancel leave forward"
    assert " ".join(kind.name.lower() for kind in Kind) == kinds
    assert [kind.value for kind in Kind] == list(range(1, 12))
    names = ("TAIL", "REPEATABLE", "URGENT", "WAITED", "UNTRACED", "PARTLY", "PARENT")
    assert {flag.name: flag.value for flag in Flag} == {name: 1 << bit for bit, name in enumerate(names)}


@settings(max_examples=examples(500))
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_parsed_never_anything_else(head: bytes) -> None:
    try:
        header = frames.parse(head)
    except ProtocolError:
        return
    assert head[:4] == frames.MAGIC
    assert header.body_at <= len(head)


@settings(max_examples=examples(500))
@given(HEADS, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4), st.integers(0, 200))
def test_mutated_frames_are_refused_or_parsed(parts: dict[str, Any], changes: list[tuple[int, int]], cut: int) -> None:
    message = frames.build(**parts)
    head = bytearray(message.head)
    for at, value in changes:
        if at < len(head):
            head[at] = value
    for mutant in (bytes(head), bytes(head[:cut])):
        try:
            header = frames.parse(mutant)
            body = frames.body_of(header, mutant, message.tail)
        except ProtocolError:
            continue
        assert header.kind in set(Kind)
        assert len(header.service) <= frames.MAX_SERVICE_BYTES
        assert isinstance(body, bytes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda h: h[:31], "31 bytes"),
        (lambda h: b"", "0 bytes"),
        (lambda h: b"DGBY" + h[4:], "magic"),
        (lambda h: h[:4] + b"\x01" + h[5:], "version 1"),
        (lambda h: h[:5] + b"\x00" + h[6:], "kind 0"),
        (lambda h: h[:5] + b"\x0c" + h[6:], "kind 12"),
        (lambda h: h[:30] + b"\x65" + h[31:] + bytes(200), "101 bytes"),
        (lambda h: h[:30] + b"\x64" + h[31:40], "cut off"),
    ],
)
def test_what_is_wrong_is_named(change: Callable[[bytes], bytes], told: str) -> None:
    head = frames.build(Kind.REQUEST, bytes(8), bytes(8), b"reader", b"body").head
    with pytest.raises(ProtocolError, match=told):
        frames.parse(change(head))


def test_a_tail_is_announced_and_there_or_neither() -> None:
    small = frames.build(Kind.REPLY, bytes(8), bytes(8), b"", b"x")
    large = frames.build(Kind.REPLY, bytes(8), bytes(8), b"", bytes(70_000))
    with pytest.raises(ProtocolError, match="missing"):
        frames.body_of(frames.parse(large.head), large.head, None)
    with pytest.raises(ProtocolError, match="not announce"):
        frames.body_of(frames.parse(small.head), small.head, b"more")


def test_a_service_name_that_is_too_long_cannot_be_built() -> None:
    frames.build(Kind.REQUEST, bytes(8), bytes(8), bytes(100))
    with pytest.raises(ProtocolError, match="100"):
        frames.build(Kind.REQUEST, bytes(8), bytes(8), bytes(101))


@given(HEADS, st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_repatch_changes_deadline_and_attempt_and_nothing_else(
    parts: dict[str, Any], deadline_ms: int, attempt: int
) -> None:
    message = frames.build(**parts)
    patched = frames.repatch(message.head, deadline_ms=deadline_ms, attempt=attempt)
    expected = frames.build(**{**parts, "deadline_ms": deadline_ms, "attempt": attempt})
    assert patched == expected.head


def test_errors_cross_as_themselves() -> None:
    error = frames.unpack_error(frames.pack_error(Busy("reader", 250)))
    assert isinstance(error, Busy)
    assert error.fields["retry_after_ms"] == 250


@pytest.mark.parametrize(
    "error",
    [
        DagBoxError("a lone surrogate: \udc80"),
        DagBoxError("a field", text="\udfff"),
        DagBoxError("a number", value=2**80),
        LimitExceeded("x" * 10, 2**70, 5),
    ],
)
def test_an_error_that_messagepack_cannot_carry_is_carried_as_well_as_can_be(error: DagBoxError) -> None:
    """A worker must be able to answer with whatever its handler raised."""
    back = frames.unpack_error(frames.pack_error(error))
    assert back.code == error.code
    assert str(back)[:8] == str(error)[:8]


@given(st.binary(max_size=100))
def test_any_body_of_an_error_gives_an_error(body: bytes) -> None:
    assert isinstance(frames.unpack_error(body), DagBoxError)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=10), st.binary(max_size=10)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from(["message", "self", "code", "fields", "args", "key", "__class__", "to_wire", "with_traceback"]),
    VALUES,
)


@given(
    st.one_of(VALUES, st.fixed_dictionaries({"code": VALUES, "message": VALUES, "fields": st.one_of(VALUES, FIELDS)}))
)
def test_any_map_gives_an_error_that_can_be_shown_and_sent_again(value: object) -> None:
    error = error_from_wire(value)
    assert isinstance(error, DagBoxError)
    assert isinstance(str(error), str)
    assert isinstance(error_from_wire(unpack(pack(error.to_wire()))), DagBoxError)
