"""The Python distributions of this machine, as records that link to each other. Pure but for reading metadata.

    package/rich                {"name", "version", "summary", "python", "license", "needs": [refs to packages],
                                 "requirements": [refs], "modules": [refs], "authors": [refs]}
    requirement/rich>pygments   {"package": ref, "needs": ref, "specifier", "extra", "marker"}
    module/rich                 {"name", "package": ref, "files": how many}
    author/will-mcgugan         {"name", "packages": [refs]}

`needs` leaves out what only an extra asks for; a package that is not installed is a ref without a record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, NamedTuple

from dagbox.protocol.values import Ref

BUCKETS = ("package", "requirement", "module", "author")
MAX_REQUIREMENTS = 500
_REQUIREMENT = re.compile(
    r"\s*(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?:@[^;]*|\(?(?P<specifier>[^;()]*)\)?)"
    r"\s*(?:;(?P<marker>.*))?",
    re.DOTALL,
)
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_ADDRESS = re.compile(r"\s*\"?(?P<name>[^\"<]*?)\"?\s*(?:<[^>]*>)?\s*")

Records = dict[Ref, dict[str, Any]]


class Requirement(NamedTuple):
    """One requirement of a distribution; `extra` and `marker` are empty where there is none."""

    name: str
    specifier: str
    extra: str
    marker: str


@dataclass(slots=True)
class Distribution:
    """The metadata of one distribution. `modules` maps names to their number of files."""

    name: str
    version: str
    summary: str = ""
    python: str = ""
    license: str = ""
    requirements: list[Requirement] = field(default_factory=list)
    modules: dict[str, int] = field(default_factory=dict)
    authors: list[str] = field(default_factory=list)


def normalized(name: str) -> str:
    """Return a project's normalized name: `Ruamel.Yaml` is `ruamel-yaml`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_requirement(text: str) -> Requirement | None:
    """Parse a line of Requires-Dist; return None if it is not one."""
    match = _REQUIREMENT.fullmatch(text)
    if match is None:
        return None
    marker = (match["marker"] or "").strip()
    extra = _EXTRA.search(marker)
    return Requirement(normalized(match["name"]), (match["specifier"] or "").strip(), extra[1] if extra else "", marker)


def authors_of(names: str, addresses: str) -> list[str]:
    """Return the names in the fields Author and Author-email, each once; addresses without a name are left out."""
    found: dict[str, None] = {}
    for text in (names, addresses):
        for part in text.split(","):
            match = _ADDRESS.fullmatch(part)
            name = match["name"].strip() if match else ""
            if name and "@" not in name and len(name) <= 80:
                found[name] = None
    return list(found)


def installed() -> Iterator[Distribution]:
    """Yield the distributions on this interpreter's path by name; of several with one name the first on the path."""
    seen: dict[str, metadata.Distribution] = {}
    for found in metadata.distributions():
        name = found.metadata["Name"]
        if name:
            seen.setdefault(normalized(name), found)
    for name in sorted(seen):
        yield _read(name, seen[name])


def _read(name: str, found: metadata.Distribution) -> Distribution:
    def metadata_of(field: str) -> str:
        return next(iter(found.metadata.get_all(field) or ()), "")

    parsed = [parse_requirement(line) for line in (found.requires or [])[:MAX_REQUIREMENTS]]
    return Distribution(
        name,
        found.version,
        metadata_of("Summary"),
        metadata_of("Requires-Python"),
        (metadata_of("License-Expression") or metadata_of("License")).strip().partition("\n")[0][:60],
        [requirement for requirement in parsed if requirement is not None],
        _modules(found.files or ()),
        authors_of(metadata_of("Author"), metadata_of("Author-email")),
    )


def _modules(files: Iterable[metadata.PackagePath]) -> dict[str, int]:
    modules: dict[str, int] = {}
    for file in files:
        top = file.parts[0]
        name = top.partition(".")[0] if len(file.parts) == 1 and file.suffix in (".py", ".so", ".pyd") else top
        if name.isidentifier() and name != "__pycache__":
            modules[name] = modules.get(name, 0) + 1
    return modules


def to_records(distributions: Iterable[Distribution]) -> Records:
    """Return the records of distributions, by ref."""
    records: Records = {}
    written: dict[str, list[Ref]] = {}
    names: dict[str, str] = {}
    for each in distributions:
        package = Ref("package", each.name)
        requirements = _requirement_records(package, each)
        modules = {
            Ref("module", name): {"name": name, "package": package, "files": files}
            for name, files in each.modules.items()
        }
        authors = []
        for name in each.authors:
            key = re.sub(r"[^\w]+", "-", name.lower()).strip("-") or name
            names.setdefault(key, name)
            written.setdefault(key, []).append(package)
            authors.append(Ref("author", key))
        needs = [data["needs"] for data in requirements.values() if not data["extra"]]
        records[package] = {
            "name": each.name,
            "version": each.version,
            "summary": each.summary,
            "python": each.python,
            "license": each.license,
            "needs": list(dict.fromkeys(needs)),
            "requirements": list(requirements),
            "modules": list(modules),
            "authors": authors,
        }
        records |= requirements | modules
    for key, packages in written.items():
        records[Ref("author", key)] = {"name": names[key], "packages": packages}
    return records


def _requirement_records(package: Ref, distribution: Distribution) -> Records:
    records: Records = {}
    for each in distribution.requirements:
        key = f"{package.key}>{each.name}" + (f"[{each.extra}]" if each.extra else "")
        records[Ref("requirement", key)] = {
            "package": package,
            "needs": Ref("package", each.name),
            "specifier": each.specifier,
            "extra": each.extra,
            "marker": each.marker,
        }
    return records
