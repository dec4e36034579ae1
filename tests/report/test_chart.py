"""The chart of all cells."""

import io

from PIL import Image

from fused_clip.report import chart
from fused_clip.report.chart import ChartRow, draw_cells, most_accurate


def test_a_chart_grows_with_its_rows_to_what_a_page_can_show() -> None:
    rows = [ChartRow(f"task · {n}", [n / 100, n / 100 + 0.01], {"zero-shot": 0.5}) for n in range(90)]
    shown = most_accurate(rows)
    assert [row.label for row in shown] == [row.label for row in rows[-chart.MOST_ROWS :]]
    sizes = [Image.open(io.BytesIO(draw_cells(some, "toy; backbone x"))).size for some in (shown[:2], shown)]
    assert sizes[0][0] == sizes[1][0]
    assert sizes[0][1] < sizes[1][1] < 1.5 * sizes[1][0]


def test_names_are_text_and_never_mathematics_or_lines() -> None:
    assert draw_cells([ChartRow("$x_{$\n\t" + "long " * 50, [0.5], {"_hidden $": 0.4})], "$a")
