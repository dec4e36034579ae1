"""Direct dependencies of pyproject.toml, and whether the lock file satisfies them."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from experiments.release import ROOT

LOCK = "requirements-dev.txt"
# Oldest and newest of the versions of Python that CI runs, on the systems that the lock file is for.
ENVIRONMENTS = [
    default_environment() | {"python_version": python, "python_full_version": f"{python}.0"} | system
    for python in ("3.11", "3.12", "3.13")
    for system in (
        {
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": "x86_64",
            "os_name": "posix",
        },
        {
            "sys_platform": "darwin",
            "platform_system": "Darwin",
            "platform_machine": "arm64",
            "os_name": "posix",
        },
    )
]
_PIN = re.compile(r"^[A-Za-z0-9][^#\s]*==", re.MULTILINE)


def direct(pyproject: Path = ROOT / "pyproject.toml") -> list[Requirement]:
    """Return the requirements of a project and of all its extras; extras that name the project are left out.

    Parameters
    ----------
    pyproject : file with the table ``project``.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {}).values()
    named = [Requirement(text) for texts in (project["dependencies"], *extras) for text in texts]
    return [one for one in named if canonicalize_name(one.name) != canonicalize_name(project["name"])]


def installed(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Return the version of each required package that this environment has, by its normalised name.

    Parameters
    ----------
    requirements : names to look up.
    """
    found = {}
    for one in requirements:
        try:
            found[canonicalize_name(one.name)] = version(one.name)
        except PackageNotFoundError:
            continue
    return found


def pins(lock: str) -> list[Requirement]:
    """Return the pinned packages of a lock file.

    Parameters
    ----------
    lock : text in the format of pip's requirement files, with one hash a line.
    """
    return [Requirement(line.rstrip(" \\")) for line in lock.splitlines() if _PIN.match(line)]


def unsatisfied(
    requirements: Iterable[Requirement], lock: str, environments: Iterable[Mapping[str, str]] = ENVIRONMENTS
) -> list[str]:
    """Describe each requirement that a lock file leaves out or pins to a version that is not allowed.

    Parameters
    ----------
    requirements : of the project.
    lock : text in the format of pip's requirement files.
    environments : values of markers, one mapping for each kind of machine.
    """
    locked = pins(lock)
    wrong = set()
    for environment in map(dict, environments):
        there = {
            canonicalize_name(one.name): next(iter(one.specifier)).version
            for one in locked
            if one.marker is None or one.marker.evaluate(environment)
        }
        for one in requirements:
            if one.marker is not None and not one.marker.evaluate(environment):
                continue
            pinned = there.get(canonicalize_name(one.name))
            if pinned is None or not one.specifier.contains(pinned, prereleases=True):
                wrong.add(f"{one}, locked: {pinned or 'not at all'}")
    return sorted(wrong)
