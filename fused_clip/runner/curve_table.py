"""The curves of a run as a table: a line for each value."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from fused_clip.metrics.curve import Curve
from fused_clip.support.errors import InputError
from fused_clip.support.files import write_atomic

COLUMNS = ("curve", "title", "x_label", "y_label", "chosen", "line", "x", "y")


def write_curves(curves: Sequence[Curve], path: Path) -> None:
    """Write values with 6 significant digits; no file without curves.

    Parameters
    ----------
    curves : of the run.
    path : of the CSV file.
    """
    if not curves:
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for curve in curves:
        chosen = "" if curve.chosen is None else f"{curve.chosen:g}"
        labels = (curve.name, curve.title, curve.x_label, curve.y_label, chosen)
        for line, values in curve.series.items():
            table.writerows(
                (*labels, line, f"{x:g}", f"{y:.6g}") for x, y in zip(curve.x, values, strict=True)
            )
    write_atomic(path, text.getvalue().encode())


def read_curves(content: bytes, path: Path) -> tuple[Curve, ...]:
    """Read what `write_curves` wrote.

    Parameters
    ----------
    content : of the CSV file.
    path : of the file, for the error.

    Raises
    ------
    InputError
        If it is damaged.
    """
    curves: dict[str, tuple[dict[str, str], dict[str, list[tuple[float, float]]]]] = {}
    try:
        for row in csv.DictReader(io.StringIO(content.decode(), newline="")):
            _, lines = curves.setdefault(row["curve"], (row, {}))
            lines.setdefault(row["line"], []).append((float(row["x"]), float(row["y"])))
        return tuple(_curve(row, lines) for row, lines in curves.values())
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError("curves", f"must be as the run wrote them ({error})", str(path)) from error


def _curve(row: Mapping[str, str], lines: Mapping[str, Sequence[tuple[float, float]]]) -> Curve:
    x = tuple(place for place, _ in next(iter(lines.values())))
    series = {name: tuple(value for _, value in line) for name, line in lines.items()}
    chosen = float(row["chosen"]) if row["chosen"] else None
    return Curve(row["curve"], row["title"], row["x_label"], row["y_label"], x, series, chosen)
