"""The tables that a run and a sweep print when they end."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fused_clip.method.reference import ReferenceFacts
from fused_clip.metrics.catalogue import CONTRIBUTIONS, METRICS, MetricFacts
from fused_clip.metrics.numbers import mean_and_deviation, number
from fused_clip.model.result import Result
from fused_clip.runner.forecast import Forecast
from fused_clip.runner.jobs import varying_axes
from fused_clip.support.memory import size

_SEEDS = ("seed", "dataset.seed")
_FIRST = ("test/accuracy", *CONTRIBUTIONS)  # the references follow these


def _wide_console() -> Console:
    """A console that never breaks the columns of a table written to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def _facts_of(
    metrics: Collection[str], references: Iterable[ReferenceFacts], *, backbone_saw: bool = False
) -> list[MetricFacts]:
    """Facts of the metrics that tables show: the method's accuracy, its references, the others."""
    first = {name: METRICS[name] for name in _FIRST}
    known = {
        facts.accuracy: MetricFacts(
            facts.accuracy,
            facts.title,
            f"{facts.explanation} (uses labels: {facts.labels(backbone_saw=backbone_saw)})",
            column=True,
        )
        for facts in references
    }
    return [facts for name, facts in {**first, **known, **METRICS}.items() if name in metrics]


def print_run(
    result: Result,
    directory: Path,
    pictures: Sequence[Path],
    ui_command: str,
    references: Sequence[ReferenceFacts] = (),
) -> None:
    """Print the table of a run, its figures' paths and how to open the comparison view.

    Parameters
    ----------
    result : of the run.
    directory : of the run.
    pictures : figures as written.
    ui_command : opens the comparison; empty if there is none.
    references : titles and explanations of those in use.
    """
    from fused_clip.method.checks import UNKNOWN_WITHOUT_LABELS  # not above: it imports scikit-learn

    console = _wide_console()
    rows = f"{len(result.train):,} train and {len(result.test):,} test rows"
    title = f"{result.dataset} · prompt={result.prompt} · backbone={result.backbone} · {rows}"
    console.print(escape(title), highlight=False)
    table = _table()
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("explanation")
    for facts in _facts_of(result.metrics, references, backbone_saw=result.backbone_saw_labels):
        if facts.name != "seconds/total":
            value = number(result.metrics[facts.name], facts.digits)
            explained = _explained(facts, result.tags, references) + _interval(facts, result.metrics)
            table.add_row(facts.title, value, explained)
    console.print(table, "")
    if result.missing_targets:
        console.print(f"Missing targets (never predicted): {escape(', '.join(result.missing_targets))}")
    if not result.test.labelled:
        few = (result.train.targets >= 0).any()
        why = "the test images have no labels" if few else "there are no labels"
        console.print(f"Not computed, because {why}: {UNKNOWN_WITHOUT_LABELS}.")
    used = f"uses {result.metrics.get('labels_used', 0):,.0f} training labels"
    labels = used if result.uses_labels else "uses no labels of its training images"
    console.print(f"This run {labels}. It took {result.metrics['seconds/total']:.1f} s.")
    if result.tags.get("transductive"):
        console.print("The classifier is transductive: each answer depends on all test images.")
    if "method_chosen" in result.tags:
        chosen = f"{result.tags['method_chosen']}: {result.tags['method_reason']}."
        console.print(escape(f"The method that was chosen is {chosen}"))
    if "leak" in result.tags:
        console.print(f"It used test labels (leak={result.tags['leak']}): its accuracy is no result.")
    if result.backbone_saw_labels:
        count = result.tags.get("classes_seen", "some").partition(":")[0]
        rule = "zero-shot, and prompts paired by it, are supervised by the backbone's training"
        console.print(f"The backbone was trained on labels of {count} classes: {rule}.")
    _print_model(console, directory)
    _print_places(console, directory, [path for path in pictures if path.suffix == ".png"], ui_command)


def _explained(facts: MetricFacts, tags: Mapping[str, str], references: Sequence[ReferenceFacts]) -> str:
    """Explanation of a metric of one run, which knows the reference behind `text_in_all`."""
    titles = {one.name: one.title for one in references}
    rival = titles.get(tags.get("text_in_all_against", ""))
    if facts.name != "text_in_all" or rival is None:
        return facts.explanation
    return f"accuracy of the method minus {rival}, the best without text that uses labels as the run does"


def _interval(facts: MetricFacts, metrics: Mapping[str, float]) -> str:
    """The interval of a number that was estimated from samples, in words; empty for an exact one."""
    low, high = (metrics.get(f"{facts.name}_{end}") for end in ("low", "high"))
    if low is None or high is None:
        return ""
    return f"; from samples, 95 % interval {number(low, facts.digits)} to {number(high, facts.digits)}"


def print_forecast(forecast: Forecast, output_dir: Path) -> None:
    """Print the forecast of a sweep.

    Parameters
    ----------
    forecast : of the sweep.
    output_dir : where it writes.
    """
    room = f"about {size(forecast.need)} on disk, {size(forecast.free)} free at {output_dir}"
    cells = f"{forecast.cells} cells: {forecast.finished} finished already and reused"
    line = f"{cells}, {forecast.cells - forecast.finished} to run; {room}"
    if 0 < forecast.prepared < forecast.cells:
        line += f" (estimated from {forecast.prepared:,} cells)"
    _wide_console().print(escape(line), soft_wrap=True, highlight=False)


def print_sweep(
    rows: Sequence[Mapping[str, Any]], directory: Path, ui_command: str, compare_url: str
) -> None:
    """Print the tables of a sweep's jobs, what failed, and where its runs are compared.

    Parameters
    ----------
    rows : records of the jobs, as `fused_clip.runner.outcomes.read_records` gives them.
    directory : of the sweep.
    ui_command : opens the comparison; empty if there is none.
    compare_url : address of the sweep in the comparison.
    """
    console = _wide_console()
    references = [ReferenceFacts(**facts) for row in rows for facts in row["references"]]
    computed = {name for row in rows for name in row["metrics"]}
    metrics = [facts for facts in _facts_of(computed, references) if facts.column]
    axes = varying_axes([row["axes"] for row in rows]) or list(rows[0]["axes"] if rows else [])
    console.print(escape(_title(rows)), highlight=False)
    cells = [[str(row["axes"].get(axis, "")) for axis in axes] for row in rows]
    _print_blocks(console, axes, cells, metrics, [_numbers(row, metrics) for row in rows])
    _print_means(console, rows, axes, metrics)
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


def _title(rows: Sequence[Mapping[str, Any]]) -> str:
    """Dataset, backbone and rows, as far as all cells share them."""
    settings = [row["setting"] for row in rows if row.get("setting")]
    shared = [
        value if key != "backbone" else f"backbone={value}"
        for key, value in (settings[0] if settings else {}).items()
        if all(setting.get(key) == value for setting in settings)
    ]
    return " · ".join([*shared, f"{len(rows)} jobs"])


def _numbers(row: Mapping[str, Any], metrics: Sequence[MetricFacts]) -> list[str]:
    if row["error"]:
        return ["FAILED", *[""] * (len(metrics) - 1)][: len(metrics)]
    found = row["metrics"]
    return [number(found[facts.name], facts.digits) if facts.name in found else "-" for facts in metrics]


def _print_means(
    console: Console, rows: Sequence[Mapping[str, Any]], axes: Sequence[str], metrics: Sequence[MetricFacts]
) -> None:
    """Print means and deviations over seeds, a row a setting, where a sweep repeats its cells."""
    seeds = [axis for axis in axes if axis in _SEEDS]
    shown = [axis for axis in axes if axis not in _SEEDS]
    settings: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if not row["error"]:
            settings.setdefault(tuple(row["axes"].get(axis, "") for axis in shown), []).append(row)
    if not seeds or all(len(some) < 2 for some in settings.values()):
        return
    numbers = [
        [
            mean_and_deviation(
                [row["metrics"][facts.name] for row in some if facts.name in row["metrics"]], facts.digits
            )
            for facts in metrics
        ]
        for some in settings.values()
    ]
    console.print(f"mean ± standard deviation over {' and '.join(seeds)}", highlight=False)
    cells = [[*setting, str(len(some))] for setting, some in settings.items()]
    _print_blocks(console, [*shown, "runs"], cells, metrics, numbers)


def _print_blocks(
    console: Console,
    axes: Sequence[str],
    cells: Sequence[Sequence[str]],
    metrics: Sequence[MetricFacts],
    numbers: Sequence[Sequence[str]],
) -> None:
    """Print a table in as many blocks of columns as the width needs; the axes stand in each."""
    unbounded = console.options.update(width=10_000)
    start = 0
    while start < max(len(metrics), 1):
        end = start + 1
        table = _block(axes, cells, metrics[start:end], [row[start:end] for row in numbers])
        while end < len(metrics):
            wider = _block(axes, cells, metrics[start : end + 1], [row[start : end + 1] for row in numbers])
            if console.measure(wider, options=unbounded).maximum > console.width:
                break
            table, end = wider, end + 1
        console.print(table, "")
        start = end


def _block(
    axes: Sequence[str],
    cells: Sequence[Sequence[str]],
    metrics: Sequence[MetricFacts],
    numbers: Sequence[Sequence[str]],
) -> Table:
    table = _table()
    for axis in axes:
        table.add_column(escape(axis), overflow="fold", min_width=4)
    for facts in metrics:
        table.add_column(escape(facts.title.replace(" ", "\n")), justify="right", no_wrap=True)
    for some, row in zip(cells, numbers, strict=True):
        table.add_row(*map(escape, some), *row)
    return table


def _table() -> Table:
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)


def _print_model(console: Console, directory: Path) -> None:
    """Print the command that uses the model of a run, if there is one."""
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
