"""Rules about locks: all of keys for which somebody waits."""

from __future__ import annotations

from collections.abc import Iterator

from dagbox.problems.board import Board, Map
from dagbox.problems.model import Cure, Finding
from dagbox.text.amounts import plural
from dagbox.text.durations import format_ms

CONVOY = 2
CONVOY_MS = 300.0
HOARD_S = 30.0
_HOLDER, _TAKE = Cure("4", "its holder"), Cure("x", "take it away")


def _fought_over(board: Board) -> Iterator[tuple[Map, list[Map]]]:
    """Yield each lock that is held while others wait, with these; of a shared lock its first holder."""
    for row in board.locks:
        line = row.get("waiting")
        if isinstance(line, list) and line and row["token"]:
            yield row, line


def convoy(board: Board) -> Iterator[Finding]:
    """Several wait for one lock, or one waits long."""
    for row, line in _fought_over(board):
        longest = max(each["waited_ms"] for each in line)
        if len(line) >= CONVOY or longest > CONVOY_MS:
            waits = "waits" if len(line) == 1 else "wait"
            text = f"{row['key']} is fought over: {len(line)} {waits}, the first for {format_ms(longest)}"
            yield Finding(row["key"], text, _holder(board, row), (_HOLDER, _TAKE))


def orphan(board: Board) -> Iterator[Finding]:
    """Others wait for a lock whose holder is not connected any more."""
    if board.clients is None:
        return
    connected = {each["id"] for each in board.clients}
    for row, line in _fought_over(board):
        if isinstance(row.get("client"), str) and row["client"] not in connected:
            text = f"{row['key']} is held by {row['owner']}, who is gone; {plural(len(line), 'other')} wait for it"
            cause = f"its lease ends in {format_ms(row['left_ms'])}"
            yield Finding(row["key"], text, cause, (_TAKE, _HOLDER), mark=str(row["token"]))


def hoarder(board: Board) -> Iterator[Finding]:
    """One holder keeps a lock for long while others wait."""
    for row, line in _fought_over(board):
        first = format_ms(line[0]["waited_ms"])
        text = f"{row['owner']} keeps {row['key']} while {len(line)} wait, the first for {first}"
        cause = f"token {row['token']}; its lease ends in {format_ms(row['left_ms'])}, unless it is renewed"
        yield Finding(row["key"], text, cause, (_TAKE, _HOLDER), mark=str(row["token"]))


def _holder(board: Board, row: Map) -> str:
    name = next((each.get("name") for each in board.clients or () if each["id"] == row.get("client")), None)
    whose = f"{name} ({row['owner']})" if name else row["owner"]
    return f"{whose} holds it, token {row['token']}, for {format_ms(row['left_ms'])} more at most"
