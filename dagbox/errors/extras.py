"""Parts of DagBox that need packages which are not installed with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagbox.errors.base import DagBoxError


class MissingExtra(DagBoxError):
    """A package that only some installations need is missing. Fields: feature, extra (its name), module."""

    code = "missing_extra"
    feature: str
    extra: str
    module: str

    def __init__(self, feature: str, extra: str, module: str) -> None:
        super().__init__(
            f"{feature} needs the {extra} extra: pip install 'dagbox[{extra}]'",
            feature=feature,
            extra=extra,
            module=module,
        )


@contextmanager
def requires_extra(feature: str, extra: str) -> Iterator[None]:
    """Run imports that need an extra of the installation.

    Args:
        feature: what the packages are for, as messages name it.
        extra: the name of the extra that installs them.

    Raises:
        MissingExtra: an import in the block did not find its module.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = error.name or ""
        if module.partition(".")[0] == "dagbox":
            raise
        raise MissingExtra(feature, extra, module) from None
