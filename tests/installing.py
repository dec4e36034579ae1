"""Packages of options as pip leaves them: a package with ``conf/``, and the facts of its distribution."""

from collections.abc import Mapping
from pathlib import Path


def install(
    site: Path,
    files: Mapping[str, str],
    package: str = "their_options",
    *,
    name: str = "their-options",
    value: str | None = None,
    version: str = "1.2",
) -> Path:
    """Write a package and its distribution into a folder of Python's path; give the package's folder.

    Parameters
    ----------
    site : the folder.
    files : content of the package's files, by their paths in it.
    package : its name.
    name : of the distribution and of the entry point.
    value : of the entry point; by default the package.
    version : of the distribution.
    """
    folder = site / package
    for place, content in {"__init__.py": "", **files}.items():
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    facts = site / f"{name.replace('-', '_')}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (facts / "entry_points.txt").write_text(f"[fused_clip.plugins]\n{name} = {value or package}\n")
    return folder
