"""Figures of a result for print: t-SNE maps, confusion, cluster composition and curves.

Figures are ``matplotlib.figure.Figure`` objects, independent of pyplot and of the user's settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fused_clip.model.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 200  # of the PNG files: 1,430 pixels across a page


def draw(result: Result, *, points: int, seed: int) -> dict[str, Figure]:
    """Draw every figure of a run.

    Parameters
    ----------
    result : of a run.
    points : rows of each split on its map, stratified by target; at least 1.
    seed : draws those rows and starts t-SNE.

    Returns
    -------
    Figures by name: ``tsne`` (all maps on a page), ``confusion``, ``composition``, then each map at column
    width: ``tsne_train_target``, ``tsne_train_cluster``, ``tsne_test_target``, ``tsne_test_prediction``,
    and each curve of the result by its own name.
    Figures by target need labels.
    """
    from fused_clip.figures.heatmaps import composition, confusion
    from fused_clip.figures.lines import line_chart
    from fused_clip.figures.maps import draw_maps
    from fused_clip.figures.style import house_style

    with house_style():
        maps = draw_maps(result, points=points, seed=seed)
        figures = {"tsne": maps.pop("tsne")}
        if result.test.labelled:
            figures |= {"confusion": confusion(result), "composition": composition(result)}
        return figures | maps | {curve.name: line_chart(result, curve) for curve in result.curves}


def save(figures: Mapping[str, Figure], directory: Path) -> list[Path]:
    """Write every figure as ``<name>.png`` (200 dots an inch) and ``<name>.pdf``; return the files in order.

    Parameters
    ----------
    figures : by name.
    directory : made if it does not exist.
    """
    from fused_clip.figures.style import house_style

    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with house_style():
        for name, figure in figures.items():
            png, pdf = directory / f"{name}.png", directory / f"{name}.pdf"
            figure.savefig(png, dpi=DPI, pil_kwargs={"compress_level": 3})
            figure.savefig(pdf, metadata={"CreationDate": None})
            written += [png, pdf]
    return written
