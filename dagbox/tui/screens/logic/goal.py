"""Goals with their variables filled in. Knows no Textual."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PIECES = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[A-Za-z_]\w*|[^A-Za-z_"\']+|["\']')


def answered(goal: str, row: Mapping[str, Any]) -> str:
    """The goal with the values of a row in the place of its variables: what `why` is asked.

    Text within quotes is left alone.
    """
    return "".join(_value(row[piece]) if piece in row else piece for piece in _PIECES.findall(goal))


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
