"""Where the config groups are."""

from pathlib import Path


def conf_dir() -> Path:
    """Find the folder of config groups: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
