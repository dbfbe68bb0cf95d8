"""Keys for records that were given none."""

from __future__ import annotations

import uuid_utils


def new_key() -> str:
    """A UUIDv7: 36 characters, rising with time, so that new records lie next to each other."""
    return str(uuid_utils.uuid7())
