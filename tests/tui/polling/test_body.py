"""Bodies of messages, whole and cut."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from dagbox.tui.polling.body import read_body
from tests.tui import sample

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


class TestBody:
    def test_a_ref_is_a_ref_and_record_data_is_opened(self) -> None:
        data = sample.pack({"author": sample.REF})
        body = read_body(sample.pack({"bucket": "post", "data": data}))
        assert body.whole
        assert body.value == {"bucket": "post", "data": {"author": sample.REF}}

    @given(values.filter(lambda value: not isinstance(value, bytes)))
    def test_what_was_packed_is_read(self, value: Any) -> None:
        def without_data(each: Any) -> bool:
            if isinstance(each, dict):
                return "data" not in each and all(map(without_data, each.values()))
            return not isinstance(each, list) or all(map(without_data, each))

        if without_data(value):
            body = read_body(msgpack.packb(value))
            assert body.whole
            assert body.value == value

    @given(values, st.data())
    def test_a_cut_anywhere_is_read_up_to_there(self, value: Any, data: st.DataObject) -> None:
        packed = msgpack.packb({"first": 1, "rest": value})
        at = data.draw(st.integers(1, len(packed) - 1))
        body = read_body(packed[:at])
        assert not body.whole
        if at > 8:
            assert body.value["first"] == 1

    @given(st.binary(max_size=60))
    def test_any_bytes_are_read_without_an_error(self, data: bytes) -> None:
        read_body(data)

    def test_nothing_is_whole(self) -> None:
        assert read_body(b"").value is None
