"""Keep generated files as their sources say: what all scripts that write pages have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(script: str, generate: Callable[[Path], dict[Path, str]], arguments: list[str], root: Path = ROOT) -> int:
    """Write the files that a generator returns, or check that they are there.

    Args:
        script: the script's name under scripts/, for messages.
        generate: takes the project's root; returns the content of each file by its path below the root.
        arguments: [] to write, ["--check"] to compare only.

    Returns:
        The exit status: 0, 1 if `--check` found a difference, 2 for other arguments.
    """
    if arguments not in ([], ["--check"]):
        print(f"usage: python scripts/{script} [--check]", file=sys.stderr)
        return 2
    stale = []
    for path, content in generate(root).items():
        there = (root / path).read_text(encoding="utf-8") if (root / path).exists() else None
        if content == there:
            continue
        stale.append(path)
        if not arguments:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content, encoding="utf-8")
            print(f"{path}: written", file=sys.stderr)
    if arguments:
        for path in stale:
            print(f"{path}: out of date: run python scripts/{script}", file=sys.stderr)
    return 1 if arguments and stale else 0
