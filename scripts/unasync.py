"""Generate the blocking client from the async one: `dagbox/client/_async` -> `dagbox/client/_sync`.

python scripts/unasync.py           write the generated files, remove those without a source
python scripts/unasync.py --check   compare bytes and file sets; exit status 1 if they differ
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SOURCE = "dagbox/client/_async"
TARGET = "dagbox/client/_sync"
BANNER = "# Generated from {source} by scripts/unasync.py: change that file, then run the script.\n"

_REPLACEMENTS = [
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\baclose\b", "close"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"dagbox\.client\._async\b", "dagbox.client._sync"),
    (r"\basync client\b", "blocking client"),
    (r"\bfor (\w+) in (\w+):\n +yield \1\n", r"yield from \2\n"),
]
_PATTERNS = [(re.compile(pattern), replacement) for pattern, replacement in _REPLACEMENTS]


def unasync(text: str) -> str:
    """The blocking form of async source text."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def formatted(text: str, name: str, root: Path) -> str:
    """The text as the project's formatter writes it: shorter names change line breaks and the order of imports."""
    sort = ["check", "--select", "I", "--fix", "--quiet", "--config", "lint.isort.known-first-party=['dagbox']"]
    for command in (sort, ["format", "--quiet"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", name, "-"],
            cwd=root,
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        text = result.stdout
    return text


def generate(root: Path) -> dict[Path, bytes]:
    """Path -> content of every file that the target directory must hold, and no other."""
    files = {}
    for source in sorted((root / SOURCE).glob("**/*.py")):
        name = source.relative_to(root / SOURCE)
        text = BANNER.format(source=f"{SOURCE}/{name.as_posix()}") + unasync(source.read_text(encoding="utf-8"))
        target = root / TARGET / name
        files[target] = formatted(text, str(target), root).encode()
    return files


def present(root: Path) -> dict[Path, bytes]:
    """Path -> content of the source files that the target directory holds."""
    return {path: path.read_bytes() for path in (root / TARGET).glob("**/*.py")}


def differences(wanted: dict[Path, bytes], there: dict[Path, bytes]) -> list[str]:
    """One line for each file that is missing, orphaned or different."""
    lines = [f"{path}: missing" for path in wanted.keys() - there.keys()]
    lines += [f"{path}: has no source" for path in there.keys() - wanted.keys()]
    lines += [
        f"{path}: differs from its source" for path in wanted.keys() & there.keys() if wanted[path] != there[path]
    ]
    return sorted(lines)


def write(wanted: dict[Path, bytes], there: dict[Path, bytes]) -> None:
    """Make the target directory hold exactly these files."""
    for path in there.keys() - wanted.keys():
        path.unlink()
    for path, content in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if there.get(path) != content:
            path.write_bytes(content)


def main(arguments: list[str], root: Path) -> int:
    """Run the script; its exit status."""
    wanted, there = generate(root), present(root)
    lines = differences(wanted, there)
    if arguments == ["--check"]:
        for line in lines:
            print(line, file=sys.stderr)
        return 1 if lines else 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    write(wanted, there)
    for line in lines:
        print(f"{line}: written", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent.parent))
