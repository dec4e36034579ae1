"""Pictures of a result, fit for print: t-SNE maps, confusion and cluster composition.

Figures are plain ``matplotlib.figure.Figure`` objects: no window, no current figure, and a user's own
matplotlib settings neither change them nor are changed by them.
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
    result : what the run found.
    points : rows of each split that its map shows, stratified by target; at least 1.
    seed : draws those rows and starts t-SNE.

    Returns
    -------
    Figures by name, in the order in which they are best read: ``tsne`` (all four maps on a page),
    ``confusion``, ``composition``, then each map alone at column width: ``tsne_train_target``,
    ``tsne_train_cluster``, ``tsne_test_target``, ``tsne_test_prediction``. Without labels there are
    neither maps by target nor tables of targets.
    """
    from fused_clip.figures.heatmaps import composition, confusion
    from fused_clip.figures.maps import draw_maps
    from fused_clip.figures.style import house_style

    with house_style():
        maps = draw_maps(result, points=points, seed=seed)
        figures = {"tsne": maps.pop("tsne")}
        if result.test.labelled:
            figures |= {"confusion": confusion(result), "composition": composition(result)}
        return figures | maps


def save(figures: Mapping[str, Figure], directory: Path) -> list[Path]:
    """Write every figure as ``<name>.png`` (200 dots an inch) and ``<name>.pdf`` (TrueType text, undated).

    Returns
    -------
    The files written, in the order of `figures`, PNG before PDF.
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
