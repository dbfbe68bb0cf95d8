"""The table "Where is …" of CONTRIBUTING.md leads to the lines that it promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISED = {
    "how long a lease lasts": {
        "dagbox/client/_async/database.py": "ttl: float = 10",
        "dagbox/protocol/operations/limits.py": "DEFAULT_LEASE_MS = ",
        "dagbox/shell/handlers/locks.py": "ttl",
    },
    "how a queue is bounded": {
        "dagbox/broker/queues.py": "def has_room",
        "dagbox/broker/model.py": "queue_requests: int",
    },
    "the colour of a dead worker": {
        "dagbox/tui/display/roles.py": '"dead": ',
        "dagbox/tui/display/palette.py": "bad",
    },
    "what `get` prints": {"dagbox/commands/records.py": "def get("},
    "the format of a record on disk": {"dagbox/store/envelope.py": "version  checksum"},
}
"""What is looked for -> file -> what stands there."""


def rows() -> dict[str, str]:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where is")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE))


@pytest.mark.parametrize("what", PROMISED)
def test_a_row_leads_to_the_place(what: str) -> None:
    files = set(re.findall(r"`(dagbox/[\w/]+\.py)`", rows()[what]))
    assert files == set(PROMISED[what])
    for name, text in PROMISED[what].items():
        assert text in (ROOT / name).read_text(encoding="utf-8"), name
