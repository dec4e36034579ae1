"""Files of a wheel and of an sdist, and those that must be there."""

import hashlib
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

from experiments.release import ROOT

PACKAGES = ("fused_clip", "hydra_plugins")
CONFIG = "conf"  # becomes fused_clip/conf
EXTRA_OF_SDIST = ("CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "pyproject.toml")
_BY_HATCHLING = {".gitignore", "PKG-INFO"}


def expected_in_wheel(root: Path = ROOT) -> dict[str, str]:
    """SHA-256 (hex) of each file of the source tree that the wheel must have, by its path in the wheel.

    Parameters
    ----------
    root : folder of the repository, a git checkout; files that git ignores are left out.
    """
    return {
        name.replace(f"{CONFIG}/", f"fused_clip/{CONFIG}/", 1) if name.startswith(f"{CONFIG}/") else name: sha
        for name, sha in _hashed(root, (*PACKAGES, CONFIG)).items()
    }


def expected_in_sdist(root: Path = ROOT) -> dict[str, str]:
    """SHA-256 (hex) of each file of the source tree that the sdist must have, by path in it.

    Parameters
    ----------
    root : folder of the repository, a git checkout; files that git ignores are left out.
    """
    return _hashed(root, (*PACKAGES, CONFIG, *EXTRA_OF_SDIST))


def files_of_wheel(path: Path) -> dict[str, str]:
    """SHA-256 (hex) of each file of a wheel; the folder ``.dist-info`` is left out.

    Parameters
    ----------
    path : the wheel.
    """
    with ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if not name.partition("/")[0].endswith(".dist-info")]
        return {name: hashlib.sha256(wheel.read(name)).hexdigest() for name in names}


def files_of_sdist(path: Path) -> dict[str, str]:
    """SHA-256 (hex) of each file of an sdist, by path in it; files that hatchling adds are left out.

    Parameters
    ----------
    path : the sdist, a ``.tar.gz``.
    """
    found = {}
    with tarfile.open(path) as sdist:
        for member in sdist:
            file = sdist.extractfile(member)
            name = member.name.partition("/")[2]
            if file is not None and name not in _BY_HATCHLING:
                found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Describe each file that is missing, superfluous or of other content.

    Parameters
    ----------
    found : hash of each file that is there.
    expected : hash of each file that must be there.
    """
    return [
        *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
        *(f"{name} is superfluous" for name in sorted(found.keys() - expected.keys())),
        *(
            f"{name} differs"
            for name in sorted(found.keys() & expected.keys())
            if found[name] != expected[name]
        ),
    ]


def _hashed(root: Path, places: tuple[str, ...]) -> dict[str, str]:
    # New files that are not yet committed go into a build, as hatchling takes them.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *places]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout  # noqa: S603
    return {
        name: hashlib.sha256((root / name).read_bytes()).hexdigest()
        for name in names.split("\0")
        if name and (root / name).is_file()
    }
