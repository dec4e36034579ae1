"""Versions of this package, its source and its libraries."""

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

PACKAGE = "fused_clip"


def version_line() -> str:
    """Name and version of this package: ``fused_clip 0.1.0``."""
    return f"{PACKAGE} {own_version()}"


def own_version() -> str:
    """Version of this package, installed or not: ``0.1.0``."""
    # Metadata of an editable install are as old as the install.
    return str(import_module(PACKAGE).__version__)


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Versions of installed distributions, and of this package.

    Parameters
    ----------
    distributions : names on PyPI.
    """
    return {name: own_version() if name == PACKAGE else _version(name) for name in distributions}


_version = cache(version)  # which reads a file; a process keeps the libraries that it has imported


@cache
def code_version(modules: tuple[str, ...]) -> str:
    """SHA-256 (hex) of the source of some modules of this package.

    Parameters
    ----------
    modules : names below ``fused_clip``, such as ``("method", "estimator")``.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for module in modules:
        place = root / module
        digest.update(sources(place if place.is_dir() else place.with_suffix(".py"), root))
    return digest.hexdigest()


def sources(place: Path, root: Path) -> bytes:
    """Names and contents of Python's files, as a hash takes them.

    Parameters
    ----------
    place : a file, or a folder of files at any depth.
    root : folder that names are relative to.
    """
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return b"".join(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() for file in files)
