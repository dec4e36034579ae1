"""The page of a study that has no builder: every cell, over its seeds, with its references."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fused_clip.metrics.catalogue import MetricFacts
from fused_clip.report.chart import ChartRow, draw_cells, most_accurate
from fused_clip.report.explained_columns import Facts, columns_table, metrics_of, references_of
from fused_clip.report.page import Block, Figure, Page, Prose, Section, Table, TableCell
from fused_clip.report.rivals import rivals
from fused_clip.report.summary import (
    data_and_backbone,
    flag_of,
    group_by,
    summarize,
    supervision,
    varying,
)
from fused_clip.tracking.records import RunRecord

SEEDS = ("seed", "dataset.seed")
Groups = Mapping[tuple[str, ...], Sequence[RunRecord]]
_ACCURACY = "test/accuracy"
_PICTURES = 24
_PIXELS = 1_000


def build(records: Sequence[RunRecord]) -> Page:
    """Make the page: a chart and a table of all cells, and the map of the first run of each.

    Parameters
    ----------
    records : cells of a study or sweep, finished or not.
    """
    study = next((record.study for record in records if record.study), "")
    shown = [axis for axis in varying(records) if axis not in SEEDS] or ["dataset", "prompt"]
    groups = group_by(records, shown)
    setting = data_and_backbone(records)
    metrics, references = metrics_of(records), references_of(records)
    # References stand next to what they are compared with.
    first = [one for one in metrics if one.name == _ACCURACY]
    facts: list[Facts] = [*first, *references, *(one for one in metrics if one not in first)]
    table = _results(groups, shown, facts, setting)
    results: list[Block] = [
        _labels(records),
        *_chart(groups, shown, setting),
        table,
        columns_table(facts, records),
    ]
    sections = [Section("Results", results), Section("Maps", _maps(groups))]
    return Page(f"Study {study}" if study else "Runs", [one for one in sections if one.blocks])


def _results(groups: Groups, shown: Sequence[str], facts: Sequence[Facts], setting: str) -> Table:
    """Make one row of all runs that differ in their seeds alone."""
    ordered = [all(_as_number(values[place]) is not None for values in groups) for place in range(len(shown))]
    rows = []
    for values, some in groups.items():
        finished = sum(record.finished for record in some)
        ids = [record.run_id for record in some if record.run_id]
        named = [
            TableCell(value, _as_number(value) if by_number else None)
            for value, by_number in zip(values, ordered, strict=True)
        ]
        runs = TableCell(str(finished), finished, ids, flag_of(some))
        rows.append([*named, runs, *(_unflagged(some, one) for one in facts)])
    several = any(len(some) > 1 for some in groups.values())
    spread = "; mean ± standard deviation over seeds" if several else ""
    caption = f"Data: {setting}. Accuracies and F1 on test rows, scores of clusters on train rows{spread}."
    caption = f"{caption} {rivals([record for some in groups.values() for record in some])}".strip()
    return Table(caption, [*shown, "runs", *(one.title for one in facts)], rows, "results")


def _unflagged(records: Sequence[RunRecord], facts: Facts) -> TableCell:
    """Summarize without the flag, which stands once a row, at the number of runs."""
    metric = (facts.name, facts.digits) if isinstance(facts, MetricFacts) else (facts.accuracy,)
    return replace(summarize(records, *metric), flag="")


def _chart(groups: Groups, shown: Sequence[str], setting: str) -> list[Figure]:
    rows = []
    for values, some in groups.items():
        known = [record for record in some if record.finished]
        accuracies = [record.metrics[_ACCURACY] for record in known if _ACCURACY in record.metrics]
        if accuracies:
            found = {one.title: summarize(known, one.accuracy).value for one in references_of(known)}
            means = {title: mean for title, mean in found.items() if mean is not None}
            rows.append(ChartRow(" · ".join(values), accuracies, means))
    if not rows:
        return []
    drawn = most_accurate(rows)
    cut = f" The {len(drawn)} cells of highest accuracy, of {len(rows)}." if len(drawn) < len(rows) else ""
    caption = f"Test accuracy of each cell ({' · '.join(shown)}), with its references.{cut}"
    return [Figure(caption, draw_cells(drawn, setting))]


def _labels(records: Sequence[RunRecord]) -> Prose:
    finished = [record for record in records if record.finished]
    supervised = sum(record.tags.get("uses_labels") == "true" for record in finished)
    text = f"{supervised} of {len(finished)} finished runs used training labels (pairing or vote)."
    return Prose(f"{text} {supervision(finished)}".strip())


def _maps(groups: Groups) -> list[Block]:
    firsts = {values: [run for run in some if "tsne" in run.figures][:1] for values, some in groups.items()}
    drawn = [(values, run) for values, runs in firsts.items() for run in runs]
    blocks: list[Block] = [
        Figure(f"t-SNE of {', '.join(values) or run.name} (run {run.run_id})", _scaled(run.figures["tsne"]))
        for values, run in drawn[:_PICTURES]
    ]
    if len(drawn) > _PICTURES:
        blocks.insert(0, Prose(f"The first {_PICTURES} of {len(drawn)} maps."))
    return blocks


def _scaled(path: Path) -> bytes:
    """Shrink a picture to the width of a page and 256 colours: a hundredth of a print's bytes."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((_PIXELS, _PIXELS))
    file = io.BytesIO()
    small.quantize(256).save(file, "PNG", optimize=True)
    return file.getvalue()


def _as_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
