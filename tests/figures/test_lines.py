"""Curves of a run as figures."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from fused_clip.figures import draw, save
from fused_clip.figures.lines import line_chart
from fused_clip.figures.style import house_style
from fused_clip.metrics.curve import Curve
from tests.results import make_result

LINES = {"changed": (0.5, 0.1, 0.0), "kept": (1, 0.9, 0.9)}
TWO = Curve("rounds", "Rounds of a pairing", "round", "share", (1.0, 2.0, 3.0), LINES)


def texts(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text)}


def test_each_curve_is_a_figure_of_its_name(tmp_path: Path) -> None:
    one = Curve("number", "Number", "clusters", "ARI", (1.0, 2.0), {"ARI": (0.2, 0.7)}, 2.0)
    drawn = draw(make_result(curves=(TWO, one)), points=20, seed=0)
    assert list(drawn)[-2:] == ["rounds", "number"]
    files = save({name: drawn[name] for name in ("rounds", "number")}, tmp_path)
    assert [file.name for file in files] == ["rounds.png", "rounds.pdf", "number.png", "number.pdf"]
    assert "rounds" not in draw(make_result(), points=20, seed=0)


def test_a_chart_has_the_values_labels_and_facts() -> None:
    figure = line_chart(make_result(), TWO)
    axes = figure.axes[0]
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.5, 0.1, 0.0], [1, 0.9, 0.9]]  # type: ignore[union-attr]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3"]
    assert {"Rounds of a pairing", "round", "share", "changed", "kept"} <= texts(figure)
    assert any("toy · prompt task" in text for text in texts(figure))
    assert not any("chosen" in text for text in texts(figure))


def test_what_was_chosen_is_marked() -> None:
    curve = Curve(
        "c", "Title", "C", "accuracy", (1e-6, 1e-3, 1.0, 1e3), {"accuracy": (0.1, 0.5, 0.7, 0.6)}, 1.0
    )
    with house_style():
        figure = line_chart(make_result(), curve)
        axes = figure.axes[0]
        assert any("dashed: chosen, 1" in text for text in texts(figure))
        assert axes.lines[-1].get_xdata() == [1.0, 1.0]
        assert axes.get_xscale() == "log"
        figure.draw_without_rendering()
        assert not any("$" in text for text in texts(figure))
        assert len(figure.axes) == 1, "one line needs no legend"


@pytest.mark.parametrize("values", [(np.nan, 0.5, 0.2), (0.0, 0.0, 0.0)])
def test_gaps_and_flat_lines_are_drawn(values: tuple[float, ...], tmp_path: Path) -> None:
    curve = Curve("c", "Title", "x", "y", (1.0, 2.0, 3.0), {"y": values})
    save({"c": line_chart(make_result(), curve)}, tmp_path)
    save(
        {"c": line_chart(make_result(), Curve("c", "Title", "x", "y", (1.0,), {"y": values[1:2]}))}, tmp_path
    )
