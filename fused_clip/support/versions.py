"""Versions of this package and of the libraries that compute."""

from collections.abc import Iterable
from importlib.metadata import version

PACKAGE = "fused_clip"


def version_line() -> str:
    """Name and version of this package: ``fused_clip 0.1.0``."""
    return f"{PACKAGE} {version(PACKAGE)}"


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Version of each distribution by its name on PyPI."""
    return {name: version(name) for name in distributions}
