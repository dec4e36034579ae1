"""Axes of a sweep: what its cells set, and which keys decide no result."""

from collections.abc import Iterable

PLACES_AND_EXTRAS = frozenset(
    ("data_dir", "output_dir", "study", "tracking", "resume", "figures", "output", "reference")
)


def axes_of(overrides: Iterable[str]) -> dict[str, str]:
    """Overrides of a job, by the key that they set: ``+a.b=1`` gives ``{"a.b": "1"}``.

    Parameters
    ----------
    overrides : as on the command line.
    """
    return dict(override.lstrip("+~").partition("=")[::2] for override in overrides)
