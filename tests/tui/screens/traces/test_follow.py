"""Which traces are followed."""

from __future__ import annotations

import pytest

from dagbox.tui.screens.traces.follow import followed
from dagbox.tui.screens.traces.rows import path_of, subject_of
from tests.tui import sample


class TestTraces:
    def test_what_a_request_is_about(self) -> None:
        assert subject_of(sample.pack({"bucket": "user", "key": "u1"})) == "read user/u1"
        assert subject_of(sample.pack([{"op": "query", "goal": "p(X)"}])) == "query p(X)"
        assert subject_of(sample.pack([{"bucket": "a", "data": b""}] * 3)) == "put a (+2)"
        assert subject_of(sample.pack("just text")) == "just text"
        assert subject_of(b"") == "null"

    def test_the_path_of_a_request(self) -> None:
        assert path_of(sample.trace(1, 1.0)) == "logic → reader"

    @pytest.mark.parametrize(
        ("follow", "found"),
        [
            ({}, 7),
            ({"client": "00fe"}, 1),
            ({"service": "logic"}, 2),
            ({"bucket": "user"}, 4),
            ({"bucket": "user", "key": "u3"}, 1),
            ({"key": "nobody"}, 0),
            ({"id": sample.CLIENT + "-2"}, 1),
            ({"parent": sample.CLIENT + "-2"}, 0),
        ],
    )
    def test_following(self, follow: dict[str, str], found: int) -> None:
        assert len(followed(sample.parts(0)["traces"], follow)) == found

    def test_the_calls_of_a_handler_are_followed_by_their_whole_parent(self) -> None:
        calls = [sample.trace(n, 1.0) | {"parent": parent} for n, parent in enumerate(("a1-1", "a1-12", "", "a1-1"))]
        assert followed([*calls, sample.trace(9, 1.0)], {"parent": "a1-1"}) == [calls[0], calls[3]]
