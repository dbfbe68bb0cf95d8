"""Operations: there and back over the wire, and whatever is not one refused with a typed error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbox.errors import DagBoxError
from dagbox.protocol.operations import limits, locks, logic, reads, writes
from dagbox.protocol.operations.base import Operation, to_wire
from dagbox.protocol.values import pack, unpack
from tests.effort import examples

KINDS: list[type[Operation]] = [
    *reads.READER.kinds.values(),
    *writes.WRITER.kinds.values(),
    writes.ShortPut,
    writes.Check,
    *locks.LOCK.kinds.values(),
    *logic.LOGIC.kinds.values(),
]

whole = st.integers(0, limits.MAX_OPERATIONS)
claims = st.binary(min_size=locks.CLAIM_BYTES, max_size=locks.CLAIM_BYTES)
versions = st.none() | st.integers(0, 2**63 - 1)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
buckets = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
data = st.binary(min_size=1, max_size=20)
fences = st.lists(st.builds(writes.Fence, keys, st.integers(0, 2**63 - 1)), max_size=3).map(tuple)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8) | data,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
plain_values = st.none() | st.booleans() | whole | keys | data | st.lists(whole, max_size=3)
maps = st.dictionaries(keys, plain_values, max_size=3)
puts = st.builds(writes.Put, buckets, st.none() | keys, data, versions, st.none() | st.integers(1, limits.MAX_TTL_MS))
predicates = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
fact_values = st.text(max_size=8) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
fact_args = st.lists(fact_values, max_size=4).map(tuple)
spans = st.none() | st.integers(1, limits.MAX_TIMEOUT_MS)
goals = keys | st.lists(plain_values, min_size=1, max_size=3)
no_fence = st.just(())

OPERATIONS: dict[type[Operation], st.SearchStrategy[Operation]] = {
    reads.Read: st.builds(reads.Read, buckets, keys, st.none() | maps),
    reads.GetMany: st.builds(reads.GetMany, st.lists(st.tuples(buckets, keys), max_size=4)),
    reads.Scan: st.builds(
        reads.Scan,
        buckets,
        st.just("") | keys,
        st.none() | keys,
        st.none() | keys,
        st.none() | keys,
        st.integers(1, limits.MAX_PAGE_RECORDS),
        st.booleans(),
        st.booleans(),
    ),
    reads.Buckets: st.builds(reads.Buckets),
    reads.StoreStats: st.builds(reads.StoreStats),
    reads.FetchRows: st.builds(reads.FetchRows, st.lists(keys), st.lists(st.lists(keys)), maps, st.booleans()),
    reads.ReturnValue: st.builds(reads.ReturnValue, plain_values),
    writes.Put: st.builds(
        writes.Put, buckets, st.none() | keys, data, versions, st.none() | st.integers(1, limits.MAX_TTL_MS), fences
    ),
    writes.ShortPut: st.builds(writes.ShortPut, buckets, st.none() | keys, data, versions, st.none(), fences),
    writes.Delete: st.builds(writes.Delete, buckets, keys, versions, fences),
    writes.Check: st.builds(writes.Check, buckets, keys, st.integers(0, 2**63 - 1)),
    writes.AssertFact: st.builds(writes.AssertFact, predicates, fact_args, fences),
    writes.RetractFact: st.builds(writes.RetractFact, predicates, fact_args, fences),
    writes.AddRule: st.builds(writes.AddRule, keys, fences),
    writes.DropRule: st.builds(writes.DropRule, keys, fences),
    writes.WriteBatch: st.builds(
        writes.WriteBatch,
        st.lists(
            puts
            | st.builds(writes.Delete, buckets, keys, versions, no_fence)
            | st.builds(writes.Check, buckets, keys, st.integers(0, 2**63 - 1))
            | st.builds(writes.AssertFact, predicates, fact_args, no_fence)
            | st.builds(writes.DropRule, keys, no_fence),
            min_size=1,
            max_size=4,
        ),
        fences,
    ),
    writes.RememberFences: st.builds(writes.RememberFences, fences.filter(bool), plain_values),
    writes.Sweep: st.builds(writes.Sweep),
    writes.Sync: st.builds(writes.Sync),
    writes.Backup: st.builds(writes.Backup, buckets.map("/{}".format)),
    locks.Acquire: st.builds(
        locks.Acquire,
        st.lists(keys, max_size=3).map(tuple),
        whole,
        whole,
        st.booleans(),
        st.none() | st.text(max_size=9),
        st.none() | claims,
    ),
    locks.Renew: st.builds(locks.Renew, whole, st.none() | whole),
    locks.Release: st.builds(locks.Release, whole, st.none() | claims),
    locks.Withdraw: st.builds(locks.Withdraw, claims),
    locks.Force: st.builds(locks.Force, keys),
    locks.ListLocks: st.builds(locks.ListLocks, st.text(max_size=9), st.text(max_size=9), st.none() | whole),
    locks.LockStats: st.builds(locks.LockStats),
    logic.Query: st.builds(
        logic.Query,
        goals,
        st.none() | maps,
        st.none() | whole,
        st.none() | keys | st.lists(keys, max_size=2),
        spans,
        st.none() | maps,
    ),
    logic.Why: st.builds(logic.Why, goals, st.none() | maps, spans),
    logic.Explain: st.builds(logic.Explain, goals),
    logic.ListFacts: st.builds(logic.ListFacts, st.none() | keys, st.booleans(), whole, st.none() | data),
    logic.ListPredicates: st.builds(logic.ListPredicates),
    logic.ListRules: st.builds(logic.ListRules),
    logic.ListRunning: st.builds(logic.ListRunning),
    logic.StopQuery: st.builds(logic.StopQuery, keys),
}


def operation_or_error(make: Callable[[object], Operation], value: object) -> Operation | DagBoxError:
    """Make an operation of a value; the error if it is none."""
    try:
        return make(value)
    except DagBoxError as error:
        return error


def test_every_operation_has_a_strategy_here() -> None:
    assert OPERATIONS.keys() == set(KINDS)


@settings(max_examples=examples(400), deadline=None)
@given(st.sampled_from(KINDS).flatmap(OPERATIONS.__getitem__))
def test_from_the_wire_comes_what_went_to_it(operation: Operation) -> None:
    assert type(operation).from_wire(operation.to_wire()) == operation
    packed = pack(to_wire(operation))
    assert pack(to_wire(type(operation).from_wire(unpack(packed)))) == packed


@settings(max_examples=examples(600), deadline=None)
@given(st.sampled_from(KINDS), st.data())
def test_whatever_is_no_operation_is_a_typed_error(kind: type[Operation], draw: st.DataObject) -> None:
    """Any value for the whole, and any values for the fields of a good operation."""
    fields = draw.draw(OPERATIONS[kind]).to_wire()
    wrong = draw.draw(st.dictionaries(st.sampled_from(sorted(kind.fields)), values, max_size=3))
    for value in (draw.draw(values), wrong, fields | wrong):
        made = operation_or_error(kind.from_wire, value)
        assert isinstance(made, kind | DagBoxError)
        assert len(str(made)) < 400 or isinstance(made, kind)


@given(values)
def test_any_value_gives_a_service_an_operation_or_a_typed_error(value: object) -> None:
    for make in (reads.READER.make, writes.WRITER.make, locks.LOCK.make, logic.LOGIC.make):
        assert isinstance(operation_or_error(make, value), Operation | DagBoxError)


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_says_what_it_does_and_what_its_answer_is(kind: type[Operation]) -> None:
    first, _, rest = (kind.__doc__ or "").partition("\n")
    assert first.strip().endswith(".") or "." in first
    assert "Answer: " in rest
    assert set(kind.needed) <= kind.fields
    assert set(kind.shapes) <= kind.fields
