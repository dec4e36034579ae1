"""Folder of the config groups."""

from pathlib import Path


def conf_dir() -> Path:
    """Find the folder of config groups: in an installed package, or next to it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
