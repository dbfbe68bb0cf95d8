"""The limits of requests: all of them, in one place. Sizes of text are bytes of UTF-8."""

from __future__ import annotations

MAX_OPERATIONS = 10_000
"""Operations of one request, those inside its batches included; also the refs of one `get_many`."""
MAX_LOCK_OPERATIONS = 256
"""Operations of one request to the lock service."""

# --- reads

PAGE_RECORDS = 1_000
"""Records of a scan's page if the request sets no limit."""
MAX_PAGE_RECORDS = 10_000
"""The highest limit of a page."""
PAGE_BYTES = 1024 * 1024
"""Bytes of keys and data after which a page ends. One record always fits."""

# --- writes

MAX_DATA_BYTES = 64 * 1024 * 1024
"""Packed data of one record."""
MAX_TTL_MS = 100 * 366 * 24 * 3600 * 1000
"""The longest time to live: a hundred years."""
MAX_FENCES = 64
"""Fences of one write."""
MAX_PREDICATE_BYTES = 120
MAX_FACT_ARGS = 64
MAX_FACT_TEXT_BYTES = 65_536
"""One text argument of a fact."""
MAX_RULE_BYTES = 65_536
MAX_PATH_BYTES = 4096
"""The path of a backup."""

# --- locks

DEFAULT_LEASE_MS = 10_000
"""The time to live of a lease if the request has none."""

# --- logic

PAGE_FACTS = 10_000
"""Facts of one page: the default, and the most."""
MAX_GOAL_BYTES = 65_536
MAX_PARAMS = 1_000
"""Parameters of one query."""
MAX_VARIABLE_BYTES = 200
"""One variable of an order."""
MAX_TIMEOUT_MS = 24 * 3600 * 1000
MAX_PREDICATE_FILTER_BYTES = 500
"""The predicate whose facts are listed: longer than any that can be asserted."""
MAX_QUERY_ID_BYTES = 200
