"""Check the structure of the code: sizes of folders, files and functions, circles of imports, docstrings.

python scripts/structure.py            print what is wrong; exit status 1 if anything is
python scripts/structure.py --list     print figures: the largest folders, files and functions

What is not yet as it should be stands in `DEBTS`, with its figure: more than that is an error, and so is less, so
that the list only gets shorter.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CODE = ("dagbox", "scripts")
ALL = (*CODE, "tests")

FOLDER_FILES = 15
"""Python files of one folder, beside `__init__.py` and folders."""
FILE_LINES = 600
FUNCTION_LINES = 60
"""Lines of a function without its docstring; most are far shorter."""
NO_FIRST_WORDS = frozenset({"What", "Whether", "Who", "How", "Which", "Where", "When"})
"""A docstring says what to do or what a thing is: "Return …", "A queue of …"."""

DEBTS: dict[str, int] = {}
"""Kind of problem -> how many there still are."""


class Problem(NamedTuple):
    """Something that is not as it should be."""

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def sources(root: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    """Yield the Python files below some folders of a root."""
    for folder in folders:
        yield from sorted((root / folder).rglob("*.py"))


def check_sizes(root: Path) -> Iterator[Problem]:
    """Look for folders with too many files, and files with too many lines."""
    counts: Counter[Path] = Counter()
    for path in sources(root, ALL):
        if path.name != "__init__.py":
            counts[path.parent.relative_to(root)] += 1
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > FILE_LINES:
            yield Problem("file", str(path.relative_to(root)), f"{lines} lines, the most is {FILE_LINES}")
    for folder, count in sorted(counts.items()):
        if count > FOLDER_FILES:
            yield Problem("folder", str(folder), f"{count} files, the most is {FOLDER_FILES}")


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    first = function.body[0]
    begin = function.lineno
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        begin = first.end_lineno or begin
    return (function.end_lineno or begin) - begin


def check_functions(root: Path) -> Iterator[Problem]:
    """Look for functions that are too long, and docstrings that begin as a question does."""
    for path in sources(root, CODE):
        name = str(path.relative_to(root))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > FUNCTION_LINES:
                lines = body_lines(node)
                yield Problem("function", f"{name}:{node.lineno}", f"{node.name} has {lines} lines, the most is 60")
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node) or ""
                if text.split(" ", 1)[0].rstrip(",:") in NO_FIRST_WORDS:
                    line = getattr(node, "lineno", 1)
                    yield Problem("docstring", f"{name}:{line}", f"a docstring begins {text.split(chr(10))[0][:40]!r}")


def imported(tree: ast.Module, module: str, modules: set[str]) -> set[str]:
    """Return the modules of the package that a module needs, loaded with it or by a function; types do not count."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & modules) or {node.module}
        else:
            waiting += ast.iter_child_nodes(node)
    return (found & modules) - {module}


def check_circles(root: Path) -> Iterator[Problem]:
    """Look for files that need each other: a late import hides a circle, it does not end it."""
    paths = {}
    for path in sources(root, ("dagbox",)):
        parts = path.relative_to(root).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {
        module: imported(ast.parse(path.read_text(encoding="utf-8")), module, set(paths))
        for module, path in paths.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield Problem("circle", error.args[1][0], "imports itself: " + " -> ".join(error.args[1]))


CHECKS = (check_sizes, check_functions, check_circles)


def problems(root: Path) -> list[Problem]:
    """Return all problems of a tree."""
    return [problem for check in CHECKS for problem in check(root)]


def main(arguments: list[str], root: Path = ROOT, debts: dict[str, int] | None = None) -> int:
    """Print the problems. Return the exit status."""
    debts = DEBTS if debts is None else debts
    found = problems(root)
    if arguments == ["--list"]:
        print(*found, sep="\n")
        return 0
    if arguments:
        print("usage: python scripts/structure.py [--list]", file=sys.stderr)
        return 2
    counts = Counter(problem.kind for problem in found)
    status = 0
    for kind in sorted(counts.keys() | debts.keys()):
        allowed = debts.get(kind, 0)
        if counts[kind] > allowed:
            status = 1
            print(*(str(problem) for problem in found if problem.kind == kind), sep="\n", file=sys.stderr)
            if allowed:
                print(f"{kind}: {counts[kind]} problems, DEBTS allows {allowed}", file=sys.stderr)
        elif counts[kind] < allowed:
            status = 1
            print(f"{kind}: {counts[kind]} problems left, lower DEBTS from {allowed}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
