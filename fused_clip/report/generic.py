"""The page of a study that has none of its own: every cell, seeds taken together, beside its references."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from fused_clip.report.page import Block, Cell, Figure, Page, Prose, Section, Table
from fused_clip.report.summary import flag_of, group_by, summarize, varying
from fused_clip.tracking.records import RunRecord

SEEDS = ("seed", "dataset.seed")
COLUMNS = {
    "test/accuracy": "accuracy",
    "text_contribution": "text contribution",
    "reference/rotated_text_accuracy": "rotated text",
    "reference/zero_shot_accuracy": "zero-shot",
    "reference/image_only_accuracy": "image only",
    "reference/nearest_class_mean_accuracy": "class means",
    "train/ari": "ARI",
    "train/ami": "AMI",
    "train/purity": "purity",
    "train/silhouette": "silhouette",
    "test/macro_f1": "macro F1",
    "missing_targets": "missing targets",
}
_PICTURES = 24
_PIXELS = 1_000


def build(records: Sequence[RunRecord]) -> Page:
    """Make the page: a table of all cells, the maps of the first run of each, and what they mean."""
    study = next((record.study for record in records if record.study), "")
    axes = varying(records)
    groups = group_by(records, [axis for axis in axes if axis not in SEEDS])
    sections = [Section("Results", [_labels(records), results(records, axes)])]
    pictures = _maps(groups)
    if pictures:
        sections.append(Section("Maps", pictures))
    return Page(f"Study {study}" if study else "Runs", sections)


def results(records: Sequence[RunRecord], axes: Sequence[str]) -> Table:
    """One row for all runs that differ in their seeds alone; mean and standard deviation over these."""
    shown = [axis for axis in axes if axis not in SEEDS] or ["dataset", "prompt"]
    present = {metric for record in records for metric in record.metrics}
    metrics = [metric for metric in COLUMNS if metric in present]
    groups = group_by(records, shown)
    ordered = [all(_as_number(values[place]) is not None for values in groups) for place in range(len(shown))]
    rows = []
    for values, some in groups.items():
        finished = sum(record.finished for record in some)
        runs = Cell(
            str(finished), finished, [record.run_id for record in some if record.run_id], flag_of(some)
        )
        numbers = [summarize(some, metric, 0 if metric == "missing_targets" else 4) for metric in metrics]
        unflagged = [Cell(cell.text, cell.value, cell.run_ids) for cell in numbers]
        named = [
            Cell(value, _as_number(value) if by_number else None)
            for value, by_number in zip(values, ordered, strict=True)
        ]
        rows.append([*named, runs, *unflagged])
    columns = [*shown, "runs", *(COLUMNS[metric] for metric in metrics)]
    several = any(len(some) > 1 for some in groups.values())
    spread = "; mean ± standard deviation over seeds" if several else ""
    caption = f"Accuracies and F1 on test images, the partition's scores on training images{spread}."
    return Table(caption, columns, rows, "results")


def _labels(records: Sequence[RunRecord]) -> Prose:
    """What labels the numbers rest on."""
    finished = [record for record in records if record.finished]
    supervised = sum(record.tags.get("uses_labels") == "true" for record in finished)
    saw = sum(record.tags.get("backbone_saw_labels") == "true" for record in finished)
    text = f"{supervised} of {len(finished)} finished runs used training labels (pairing or vote)"
    if saw:
        text += f"; in {saw} the backbone had been trained on labels of these images"
    return Prose(text + ". Zero-shot uses none; image only uses them for the vote alone.")


def _maps(groups: Mapping[tuple[str, ...], Sequence[RunRecord]]) -> list[Block]:
    firsts = [next((run for run in some if "tsne" in run.figures), None) for some in groups.values()]
    drawn = [(values, run) for values, run in zip(groups, firsts, strict=True) if run]
    blocks: list[Block] = [
        Figure(f"t-SNE of {', '.join(values) or run.name} (run {run.run_id})", _scaled(run.figures["tsne"]))
        for values, run in drawn[:_PICTURES]
    ]
    if len(drawn) > _PICTURES:
        blocks.insert(0, Prose(f"The first {_PICTURES} of {len(drawn)} maps."))
    return blocks


def _scaled(path: Path) -> bytes:
    """A picture at the size of a page, in few colours: a hundredth of what a print needs."""
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
