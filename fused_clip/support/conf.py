"""The config: its folder, and what its keys mean for a cell."""

from collections.abc import Iterable
from pathlib import Path

# Keys without influence on what a cell computes.
PLACES_AND_EXTRAS = {
    "allow", "data_dir", "output_dir", "study", "tracking", "resume", "figures", "output", "reference"
}  # fmt: skip


def conf_dir() -> Path:
    """Find the folder of config groups: inside an installed package, or next to it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def axes_of(overrides: Iterable[str]) -> dict[str, str]:
    """Split overrides of a job into key and value: ``+a.b=1`` gives ``{"a.b": "1"}``.

    Parameters
    ----------
    overrides : of one job.
    """
    return dict(override.lstrip("+~").partition("=")[::2] for override in overrides)
