"""Build the wheel, install it without extras in clean environments, and use it there.

python scripts/smoke_wheel.py

Python 3.11 must be there; 3.12 and later are tried where they are found, on the path or under pyenv. Prints one
line for each; the exit status is 1 if one failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEWER = ("3.12", "3.13", "3.14")
PROGRAM = """\
import importlib.metadata, sys
import dagbox
assert dagbox.__version__ == importlib.metadata.version("dagbox")
assert "textual" not in sys.modules, "import dagbox is to be cheap"
with dagbox.open(sys.argv[1]) as db:
    ada = db.put("user", {"name": "Ada"}, key="ada")
    db.put("post", {"author": ada}, key="p1")
    assert db.fetch("post", "p1", relations={"author": {"path": "author"}})["author"][0].data == {"name": "Ada"}
    db.assert_fact("wrote", "ada", "p1")
    assert db.query("wrote(X, p1)") == [{"X": "ada"}]
    with db.lock("post/p1") as lease:
        db.put("post", {"author": ada, "stars": 5}, key="p1", fence=lease)
"""


def pythons() -> list[str]:
    """Return an interpreter of each version that is to be tried: this one, and newer ones that start."""
    found = [sys.executable]
    for version in NEWER:
        command = shutil.which(f"python{version}")
        under_pyenv = sorted(
            Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin/python")
        )
        for candidate in [*([command] if command else []), *map(str, under_pyenv)]:
            if subprocess.run([candidate, "-c", "import venv"], capture_output=True).returncode == 0:
                found.append(candidate)
                break
    return found


def run(*command: str | Path, directory: Path) -> str:
    """Run a command outside the project, so that only what is installed is found; return its output.

    Raises:
        SystemExit: it failed; its output is shown.
    """
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ended = subprocess.run([str(part) for part in command], cwd=directory, env=clean, capture_output=True, text=True)
    if ended.returncode:
        print(ended.stdout, ended.stderr, sep="\n", file=sys.stderr)
        raise SystemExit(f"smoke: failed: {' '.join(map(str, command))}")
    return ended.stdout


def build(scratch: Path) -> Path:
    """Build the wheel into a directory; return its path."""
    run(sys.executable, "-m", "build", "--wheel", "--outdir", scratch / "dist", ROOT, directory=scratch)
    (wheel,) = (scratch / "dist").glob("*.whl")
    return wheel


def try_with(python: str, wheel: Path, scratch: Path) -> None:
    """Install the wheel in a new environment of that interpreter, and use library and command line."""
    run(python, "-m", "venv", scratch / "venv", directory=scratch)
    programs = scratch / "venv" / "bin"
    run(programs / "pip", "install", "--quiet", "--disable-pip-version-check", wheel, directory=scratch)
    run(programs / "python", "-c", PROGRAM, scratch / "data", directory=scratch)
    assert "Ada" in run(programs / "dagbox", "get", "user/ada", "--at", scratch / "data", directory=scratch)
    assert "stars" in run(programs / "dagbox", "shell", scratch / "data", "-c", "get post/p1", directory=scratch)
    version = run(programs / "python", "-c", "import platform; print(platform.python_version())", directory=scratch)
    packages = len(run(programs / "pip", "list", "--format", "freeze", directory=scratch).splitlines())
    print(f"smoke: {wheel.name} works on Python {version.strip()}, {packages} packages installed")


def main() -> int:
    """Run the script; return its exit status."""
    with tempfile.TemporaryDirectory(prefix="dagbox-smoke-") as name:
        wheel = build(Path(name))
        for number, python in enumerate(pythons()):
            scratch = Path(name) / str(number)
            scratch.mkdir()
            try_with(python, wheel, scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
