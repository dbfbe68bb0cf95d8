"""Datetimes as values: subclasses are stored as the moment they name, and refused if that would lose a part of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

import dagbox
from dagbox.protocol.values import new_packer, pack, unpack


class Stamp(datetime):
    """As those of pandas, pendulum and freezegun are."""


class Fine(Stamp):
    """Finer than a microsecond, as a pandas.Timestamp may be."""

    nanosecond = 7


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))])
def test_an_aware_subclass_is_stored_as_the_moment_it_names(zone: timezone) -> None:
    stamp = Stamp(2026, 3, 1, 12, 30, 15, 250, tzinfo=zone)
    plain = datetime(2026, 3, 1, 12, 30, 15, 250, tzinfo=zone)
    assert pack({"at": [stamp]}) == pack({"at": [plain]}) == new_packer()({"at": [stamp]})
    assert unpack(pack(stamp)) == plain


@pytest.mark.parametrize("kind", [datetime, Stamp])
def test_a_naive_one_is_refused(kind: type[datetime]) -> None:
    with pytest.raises(dagbox.InvalidArgument, match="without a time zone"):
        pack(kind(2026, 3, 1))


def test_parts_below_a_microsecond_are_not_dropped_in_silence() -> None:
    with pytest.raises(dagbox.InvalidArgument, match="microsecond"):
        pack(Fine(2026, 3, 1, tzinfo=UTC))
