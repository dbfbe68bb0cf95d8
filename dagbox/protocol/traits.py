"""The traits of a service: what a broker has to know of it, told at registration.

A broker knows no service by name. A worker that tells no traits has none of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from dagbox.errors import InvalidArgument, shown_value

MAX_SECTIONS = 16
MAX_SECTION_CHARACTERS = 60


class Combine(StrEnum):
    """Ways in which the reports of several workers become one section of the status."""

    ONE = "one"
    """One worker speaks for all: the section is the report of the last that has one."""
    SUM = "sum"
    """Numbers are added up."""


class Traits(NamedTuple):
    """Traits of a service.

    Args:
        patient: True if it keeps requests on purpose until their turn comes: a long time is not slow.
        reports: section of the status -> how its workers' reports of that name are combined.
        direct: True if clients on the same machine may do its work themselves while nothing is to hold them up.
    """

    patient: bool = False
    reports: dict[str, Combine] = {}
    direct: bool = False

    def to_wire(self) -> dict[str, Any]:
        """Return the map that a registration carries."""
        reports = {name: how.value for name, how in self.reports.items()}
        return {"patient": self.patient, "reports": reports, "direct": self.direct}

    @classmethod
    def from_wire(cls, value: object) -> Traits:
        """Return the traits in a registration; unknown ones are ignored, None has none.

        Raises:
            InvalidArgument: not of this form.
        """
        if value is None:
            return cls()
        told = value if isinstance(value, dict) else {"patient": None}
        patient, reports, direct = told.get("patient", False), told.get("reports", {}), told.get("direct", False)
        if not isinstance(patient, bool) or not isinstance(direct, bool):
            raise InvalidArgument("traits: patient and direct are bools")
        if not isinstance(reports, dict) or len(reports) > MAX_SECTIONS:
            raise InvalidArgument(f"traits: reports is a map of at most {MAX_SECTIONS} sections")
        checked: dict[str, Combine] = {}
        for section, how in reports.items():
            if not isinstance(section, str) or not 0 < len(section) <= MAX_SECTION_CHARACTERS:
                raise InvalidArgument(f"traits: a section is text of 1 to {MAX_SECTION_CHARACTERS} characters")
            if not isinstance(how, str) or how not in set(Combine):
                raise InvalidArgument(f"traits: {section} is combined by {', '.join(Combine)}, not {shown_value(how)}")
            checked[section] = Combine(how)
        return cls(patient, checked, direct)
