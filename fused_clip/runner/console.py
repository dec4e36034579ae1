"""What a run and a sweep print when they end."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fused_clip.method.checks import UNKNOWN_WITHOUT_LABELS as UNKNOWN
from fused_clip.model.result import Result
from fused_clip.runner.forecast import Forecast, megabytes

_SWEEP_COLUMNS = {
    "test/accuracy": "accuracy",
    "test/macro_f1": "macro F1",
    "train/silhouette": "silhouette",
    "train/ari": "ARI",
    "train/ami": "AMI",
    "train/purity": "purity",
    "missing_targets": "missing",
    "reference/zero_shot_accuracy": "zero-shot",
    "reference/image_only_accuracy": "image only",
    "reference/rotated_text_accuracy": "rotated text",
    "text_contribution": "text contrib.",
    "seconds/total": "seconds",
}
_MEANING = {
    "test/accuracy": "the method, on test images",
    "reference/zero_shot_accuracy": "nearest prompt by cosine; no labels",
    "reference/zero_shot_via_class_accuracy": "nearest class prompt, then its group; no labels",
    "reference/image_only_accuracy": "the same clustering without text; labels for the vote",
    "reference/nearest_class_mean_accuracy": "nearest mean of each target's training images; labels",
    "reference/nearest_cluster_mean_accuracy": "nearest image mean of the run's own clusters",
    "reference/rotated_text_accuracy": "the method with its text's meaning removed",
    "text_contribution": "the method minus rotated text",
    "test/ece": "expected calibration error of the method's probabilities",
    "test/brier": "Brier score of the method's probabilities",
    "train/silhouette": "of the fused rows and their clusters",
    "train/ari": "adjusted Rand index of targets and clusters",
    "train/ami": "adjusted mutual information of targets and clusters",
    "train/purity": "share of rows whose cluster carries their target",
}


def _wide_console() -> Console:
    """A console that never breaks the columns of a table written to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def _number(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    if key.startswith("seconds/"):
        return f"{value:.1f}"
    return f"{value:.0f}" if key == "missing_targets" else f"{value:.4f}"


def print_run(result: Result, directory: Path, pictures: Sequence[Path], ui_command: str) -> None:
    """Print the table of a run, its figures' paths and how to open the comparison view."""
    console = _wide_console()
    title = f"{result.dataset} · prompt={result.prompt} · backbone={result.backbone}"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("what it is")
    for key, meaning in _MEANING.items():
        if key in result.metrics:
            table.add_row(key, _number(key, result.metrics[key]), meaning)
    console.print(table)
    if result.missing_targets:
        console.print(f"Missing targets (never predicted): {escape(', '.join(result.missing_targets))}")
    if not result.test.labelled:
        console.print(f"There are no labels, so these can't be known: {UNKNOWN}.")
    labels = "uses training labels" if result.uses_labels else "uses no labels"
    saw = "; the backbone was trained on labels of these images" if result.backbone_saw_labels else ""
    console.print(f"This run {labels}{saw}. It took {result.metrics['seconds/total']:.1f} s.")
    _print_model(console, directory)
    _print_places(console, directory, [path for path in pictures if path.suffix == ".png"], ui_command)


def print_forecast(forecast: Forecast, output_dir: Path) -> None:
    """Print what a sweep is going to do."""
    room = f"about {megabytes(forecast.need)} on disk, {megabytes(forecast.free)} free at {output_dir}"
    cells = f"{forecast.cells} cells: {forecast.finished} finished already and reused"
    line = f"{cells}, {forecast.cells - forecast.finished} to run; {room}"
    _wide_console().print(escape(line), soft_wrap=True, highlight=False)


def print_sweep(
    rows: Sequence[Mapping[str, Any]], directory: Path, ui_command: str, compare_url: str
) -> None:
    """Print one table of a sweep's jobs, what failed, and where its runs are compared."""
    console = _wide_console()
    axes = [axis for axis, values in _values(rows).items() if len(values) > 1 or len(rows) == 1]
    columns = [key for key in _SWEEP_COLUMNS if any(key in row["metrics"] for row in rows)]
    table = Table(title=f"{len(rows)} jobs", title_justify="left")
    for axis in axes:
        table.add_column(escape(axis))
    for key in columns:
        table.add_column(_SWEEP_COLUMNS[key], justify="right")
    for row in rows:
        cells = [escape(str(row["axes"].get(axis, ""))) for axis in axes]
        numbers = [_number(key, row["metrics"].get(key)) for key in columns]
        table.add_row(
            *cells, *(["FAILED", *[""] * (len(columns) - 1)][: len(columns)] if row["error"] else numbers)
        )
    console.print(table)
    for row in rows:
        if row["error"]:
            name = " ".join(f"{axis}={value}" for axis, value in row["axes"].items())
            console.print(f"FAILED {escape(name)}: {escape(row['error'])}", soft_wrap=True)
    reused = sum(bool(row["reused_from"]) for row in rows)
    if reused:
        console.print(f"{reused} of {len(rows)} were finished already.")
    _print_places(console, directory, [], ui_command)
    if compare_url:
        console.print(f"Then open: {escape(compare_url)}", soft_wrap=True, highlight=False)


def _values(rows: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Values that each axis takes in the sweep."""
    axes = dict.fromkeys(axis for row in rows for axis in row["axes"])
    return {axis: {str(row["axes"].get(axis, "")) for row in rows} for axis in axes}


def _print_model(console: Console, directory: Path) -> None:
    """Print how the model of a run is used, if it left one."""
    folder = directory / "model"
    if not folder.is_dir():
        return
    from fused_clip.model.format import read_facts

    facts = read_facts(folder)
    kind = "Model:" if facts.temperature else "Model (uncalibrated: made without labels):"
    if facts.backbone:
        use = f"fused-clip-predict {shlex.quote(str(directory))} IMAGES --out FILE.csv"
    else:
        use = f"fused_clip.load_model({str(directory)!r}).predict_embeddings(VECTORS)"
    console.print(escape(f"{kind}  {use}"), soft_wrap=True, highlight=False)


def _print_places(console: Console, directory: Path, pictures: Sequence[Path], ui_command: str) -> None:
    for path in pictures:
        console.print(f"Figure: {escape(str(path))}", soft_wrap=True, highlight=False)
    console.print(f"Files:  {escape(str(directory))}", soft_wrap=True, highlight=False)
    if ui_command:
        console.print(f"Compare: {escape(ui_command)}", soft_wrap=True, highlight=False)
