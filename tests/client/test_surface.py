"""What programs may rely on: the public names, the methods and their signatures, the generated twin."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import dagbox
from dagbox.aio import AsyncDatabase

ROOT = Path(__file__).parents[2]

SIGNATURES = {
    "assert_fact": "(predicate, *args)",
    "backup": "(path)",
    "batch": "(*, fence=None)",
    "buckets": "()",
    "call": "(service, payload=None, *, timeout=None, repeatable=False, on_part=None, untraced=False)",
    "clients": "(*, limit=50)",
    "close": "()",
    "control": "(command, **arguments)",
    "delete": "(target, key=None, *, if_version=None, fence=None)",
    "drop_rule": "(rule_id)",
    "add_rule": "(rule)",
    "events": "(*, after=0, limit=200)",
    "event_log": "(*, after=0, limit=200)",
    "explain": "(goal)",
    "facts": "(predicate=None, *, limit=None, derived=True)",
    "fetch": "(target, key=None, *, relations=None, fields=None, default=None, params=None, skip=None)",
    "get": "(target, key=None, default=MISSING)",
    "get_many": "(targets, *, skip=None)",
    "get_record": "(target, key=None, default=MISSING)",
    "lock": "(*keys, ttl=10, wait=5, shared=False, keepalive=True, owner=None)",
    "locks": "()",
    "pipeline": "(*, timeout=None)",
    "put": "(bucket, data, *, key=None, ttl=None, if_version=None, fence=None)",
    "queries": "()",
    "query": "(goal, *, fetch=None, limit=None, timeout=None, params=None, order=None, skip=None)",
    "release": "(lock, *, force=False)",
    "retract_fact": "(predicate, *args)",
    "rules": "()",
    "scan": (
        "(bucket, *, prefix='', start=None, stop=None, limit=None, reverse=False, keys_only=False, skip=None,"
        " where=None, order=None, after=None, fields=None, default=None, params=None)"
    ),
    "services": "()",
    "status": "()",
    "stop_query": "(query_id)",
    "trace_log": "(*, after=None, limit=200, newest=False, **which)",
    "traces": "(*, limit=50, slowest=False, **which)",
    "why": "(goal, *, params=None, timeout=None)",
    "workers": "()",
}
PROPERTIES = {"address", "embedded"}


def shape(function: object) -> str:
    """The signature without types and without self."""
    signature = inspect.signature(function)  # type: ignore[arg-type]
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def public(cls: type) -> dict[str, str]:
    return {
        name: shape(member) for name, member in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")
    }


def test_both_clients_have_exactly_these_methods() -> None:
    assert public(dagbox.Database) == SIGNATURES
    assert public(AsyncDatabase) == SIGNATURES
    for cls in (dagbox.Database, AsyncDatabase):
        assert {name for name, member in inspect.getmembers(cls) if isinstance(member, property)} == PROPERTIES


def test_every_public_method_is_described() -> None:
    for cls in (dagbox.Database, dagbox.Lease, AsyncDatabase):
        assert [
            name
            for name, member in inspect.getmembers(cls, inspect.isfunction)
            if not member.__doc__ and not name.startswith("_")
        ] == []


def test_the_public_names() -> None:
    store = "map_size=None, max_buckets=None, readonly=False"
    connection = "timeout=30.0, direct=True, patience=5.0, name=None, tool=False"
    assert shape(dagbox.open) == f"(path, *, serve=False, durability='full', timeout=30.0, {store})"
    assert shape(dagbox.connect) == f"(target=None, *, {connection})"
    assert shape(dagbox.aio.open) == f"(path, *, serve=False, durability='full', timeout=30.0, {store})"
    assert shape(dagbox.aio.connect) == f"(target=None, *, {connection})"
    for name in dagbox.__all__:
        assert getattr(dagbox, name) is not None
    assert set(dagbox.__all__) <= set(dir(dagbox))
    with pytest.raises(AttributeError):
        dagbox.__getattr__("nothing_of_that_name")


def test_every_error_is_a_public_name() -> None:
    for name, value in vars(dagbox.errors).items():
        if isinstance(value, type) and issubclass(value, dagbox.DagBoxError):
            assert getattr(dagbox, name) is value


def test_importing_is_light(tmp_path: Path) -> None:
    program = (
        "import sys, dagbox; assert dagbox.__version__;"
        "heavy = {'zmq', 'lmdb', 'asyncio', 'msgpack'} & set(sys.modules); assert not heavy, heavy;"
        "dagbox.open, dagbox.connect, dagbox.Ref;"
        "heavy = {'zmq', 'lmdb', 'asyncio'} & set(sys.modules); assert not heavy, heavy;"
        "dagbox.open(sys.argv[1]).close();"
        "heavy = {'zmq', 'asyncio'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=ROOT)
    again = (
        "import sys, dagbox; dagbox.open(sys.argv[1]).close();"
        "rare = {'tempfile', 'shutil', 'bz2', 'lzma', 'random', 'subprocess', 'click'} & set(sys.modules);"
        "assert not rare, rare"
    )
    subprocess.run([sys.executable, "-c", again, str(tmp_path)], check=True, cwd=ROOT)


def run_unasync(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a copy of the checkout."""
    return subprocess.run(
        [sys.executable, str(root / "scripts/unasync.py"), *arguments], capture_output=True, text=True, check=False
    )


def test_the_blocking_client_is_what_the_script_generates() -> None:
    result = run_unasync(ROOT, "--check")
    assert (result.returncode, result.stderr) == (0, "")


def test_the_check_sees_changed_missing_and_orphan_files(tmp_path: Path) -> None:
    copied = [*(ROOT / "dagbox/client").glob("_*/*.py"), *(ROOT / "dagbox").glob("*.py")]
    for name in ("scripts/unasync.py", "pyproject.toml", *map(str, copied)):
        target = tmp_path / (ROOT / name).relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    assert run_unasync(tmp_path, "--check").returncode == 0
    twin = tmp_path / "dagbox/client/_sync"
    (twin / "locks.py").write_text((twin / "locks.py").read_text() + "\n")
    (twin / "blocks.py").unlink()
    (twin / "orphan.py").write_text("")
    result = run_unasync(tmp_path, "--check")
    assert result.returncode == 1
    for words in ("locks.py: differs", "blocks.py: missing", "orphan.py: has no source"):
        assert words in result.stderr
    assert run_unasync(tmp_path).returncode == 0
    assert run_unasync(tmp_path, "--check").returncode == 0
    assert run_unasync(tmp_path, "--unknown").returncode == 2


@pytest.mark.parametrize(
    ("given", "hint"),
    [("user/ada", "'user', 'ada'"), ("user/a/b", "'user', 'a/b'"), ("user", "a bucket and a key"), ("/x", "a bucket")],
)
def test_one_text_is_no_name_of_a_record_but_says_how_to_split_it(given: str, hint: str) -> None:
    with dagbox.open(":memory:") as db:
        for call in (db.get, db.get_record, db.delete, db.fetch):
            with pytest.raises(dagbox.InvalidArgument, match=hint):
                call(given)
