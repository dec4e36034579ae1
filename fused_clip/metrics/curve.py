"""A curve that a part computed on the way to its choice, such as rounds of a pairing."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """Values over one axis, drawn as ``figures/<name>.png`` and kept in ``curves.csv``.

    Parameters
    ----------
    name : of the file.
    title : of the figure.
    x_label, y_label : of the axes.
    x : k positions.
    series : k values of each line, by its label.
    chosen : position that was chosen, which is marked; None for none.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    series: Mapping[str, tuple[float, ...]]
    chosen: float | None = None
