"""The table and the figure of what was measured on a machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.benchmarks import promises
from experiments.benchmarks.measure import Benchmark, Results, Run, exponent
from fused_clip.figures.style import COLOURS, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = "| {task} | n | runs | seconds: median (range) | CPU | peak GB | new | times as fast as | outcome |"
LARGEST_FITTED = 300_000  # larger inputs are measured once, to see that they work
LEAST_GB = 0.02  # less new memory than this says nothing about growth


class Curve(NamedTuple):
    """Median seconds and new memory (peak less what there was before) of a method by size, ascending."""

    benchmark: Benchmark
    sizes: list[int]
    seconds: list[float]
    memory: list[float]

    @property
    def fitted(self) -> list[int]:
        """The sizes over which exponents are fitted."""
        return [size for size in self.sizes if size <= LARGEST_FITTED]

    def exponents(self) -> tuple[float, float]:
        """Of time and of new memory, over the sizes that are fitted; NaN where there are not two."""
        sizes, count = self.fitted, len(self.fitted)  # ascending
        memory = self.memory[:count]
        grown = exponent(sizes, memory) if min(memory, default=0) >= LEAST_GB else float("nan")
        return exponent(sizes, self.seconds[:count]), grown


def write(results: Results, benchmarks: Sequence[Benchmark]) -> list[Path]:
    """Write a table (Markdown) and a figure (PNG) next to the results; return the files."""
    table, picture = results.path.with_suffix(".md"), results.path.with_suffix(".png")
    table.write_text(text(results, benchmarks), encoding="utf-8")
    draw(curves(results, benchmarks), picture)
    return [table, picture]


def text(results: Results, benchmarks: Sequence[Benchmark]) -> str:
    """Return the Markdown of a machine: its name as title, what it is, promises, a table for each task."""
    title = f"# {results.environment['processor']}, {results.environment['cores']} cores"
    return "\n".join([title, "", *_lines(results, benchmarks)]) + "\n"


def curves(results: Results, benchmarks: Sequence[Benchmark]) -> list[Curve]:
    """Collect what was measured of each benchmark; those without a run are left out."""
    found = []
    for one in benchmarks:
        sizes = sorted({run.size for run in results.runs if (run.task, run.method) == (one.task, one.method)})
        runs = [results.of(one, size) for size in sizes]
        seconds = [median(run.seconds for run in group) for group in runs]
        memory = [median(_new_gb(run) for run in group) for group in runs]
        if sizes:
            found.append(Curve(one, sizes, seconds, memory))
    return found


def _lines(results: Results, benchmarks: Sequence[Benchmark]) -> Iterator[str]:
    facts = results.environment
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} used, {facts['memory_gb']} GB;"
    yield f"{facts['system']}, Python {facts['python']}, {versions}."
    commits = dict.fromkeys(run.commit[:7] + run.commit[40:] for run in results.runs)
    yield f"Measured {span(results)}, commit {', '.join(commits)}."
    loads = [run.load for run in results.runs]
    if loads:
        yield f"Mean load before a run began: {np.mean(loads):.1f} (largest {max(loads):.1f})."
    yield from promises.table(results)
    for task in dict.fromkeys(one.task for one in benchmarks):
        members = [curve for curve in curves(results, benchmarks) if curve.benchmark.task == task]
        if members:
            yield from _table(results, task, members)


def _table(results: Results, task: str, members: Sequence[Curve]) -> Iterator[str]:
    yield from ("", HEADER.format(task=task), "|---" * 9 + "|")
    peers = [curve.benchmark for curve in members if curve.benchmark.peer]
    for curve in members:
        rivals = [] if curve.benchmark.peer else peers
        for size in curve.sizes:
            yield _row(results.of(curve.benchmark, size), [results.of(peer, size) for peer in rivals])
    yield ""
    yield from (_fit(curve) for curve in members if len(curve.fitted) > 1)


def _row(runs: Sequence[Run], peers: Sequence[Sequence[Run]]) -> str:
    seconds = sorted(run.seconds for run in runs)
    middle = median(seconds)
    spread = f" ({_digits(seconds[0])} to {_digits(seconds[-1])})" if len(runs) > 1 else ""
    faster = ", ".join(_ratio(runs, peer) for peer in peers if peer)
    facts = {name: median(run.facts[name] for run in runs) for name in runs[-1].facts}
    outcome = ", ".join(f"{name} {value:.4g}" for name, value in facts.items())
    cpu = _digits(median(run.cpu_seconds for run in runs))
    memory = (f"{median(values):.2f}" for values in ([run.peak_gb for run in runs], map(_new_gb, runs)))
    time = _digits(middle) + spread
    cells = (runs[0].method, f"{runs[0].size:,}", len(runs), time, cpu, *memory, faster, outcome)
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _ratio(runs: Sequence[Run], peer: Sequence[Run]) -> str:
    """Ratio of medians, with the range over the turns of both where there were several."""
    elapsed = median(run.seconds for run in peer) / median(run.seconds for run in runs)
    cpu = median(run.cpu_seconds for run in peer) / median(run.cpu_seconds for run in runs)
    turns = promises.paired_ratios(runs, peer)
    spread = f"{min(turns):.1f} to {max(turns):.1f}; " if len(turns) > 1 else ""
    return f"{peer[0].method} {elapsed:.1f} ({spread}CPU {cpu:.1f})"


def _digits(seconds: float) -> str:
    """Three digits, but no fewer than those before the point."""
    return f"{seconds:,.0f}" if seconds >= 1000 else f"{seconds:.3g}"


def _new_gb(run: Run) -> float:
    """Memory beyond what there was before; a megabyte at least, which a logarithmic axis can show."""
    return max(run.peak_gb - run.start_gb, 0.001)


def span(results: Results) -> str:
    """First and last day of the runs."""
    first, last = results.dates
    return first if first == last else f"{first} to {last}"


def _fit(curve: Curve) -> str:
    time, memory = curve.exponents()
    span = f"{curve.fitted[0]:,} to {curve.fitted[-1]:,}"
    grows = "" if np.isnan(memory) else f", new memory as n^{memory:z.2f}"
    return f"- {curve.benchmark.method}, {span}: time grows as n^{time:z.2f}{grows}"


def draw(measured: Sequence[Curve], path: Path) -> None:
    """Draw seconds and new memory against n on logarithmic axes, a row of panels a task of several sizes."""
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(curve.benchmark.task for curve in measured if len(curve.sizes) > 1))
    figure = Figure(figsize=(7.2, 2.6 * max(len(tasks), 1)), layout="constrained")
    panels: Any = figure.subplots(max(len(tasks), 1), 2, squeeze=False)
    for task, (left, right) in zip(tasks, panels, strict=False):
        members = [curve for curve in measured if curve.benchmark.task == task]
        times, memories = zip(*(curve.exponents() for curve in members), strict=True)
        _panel(left, members, f"{task}: seconds", [curve.seconds for curve in members], times)
        _panel(right, members, f"{task}: new memory, GB", [curve.memory for curve in members], memories)
    figure.savefig(path, dpi=110)


def _panel(
    axes: Axes,
    members: Sequence[Curve],
    title: str,
    values: Sequence[Sequence[float]],
    exponents: Sequence[float],
) -> None:
    for place, (curve, own, slope) in enumerate(zip(members, values, exponents, strict=True)):
        label = curve.benchmark.method + ("" if np.isnan(slope) else f", n^{slope:.2f}")
        style = "--" if curve.benchmark.peer else "-"
        axes.plot(
            curve.sizes, own, style, color=COLOURS[place], marker=MARKERS[place], markersize=4, label=label
        )
    axes.set_title(title, fontsize=9, loc="left")
    axes.set(xscale="log", yscale="log", xlabel="n")
    axes.xaxis.set_minor_formatter("")
    sizes = sorted({size for curve in members for size in curve.sizes})
    axes.set_xticks(sizes, [_short(size) for size in sizes], size=6)
    axes.legend(fontsize=6, framealpha=0.6)


def _short(size: int) -> str:
    units = ((1_000_000, "M"), (1_000, "k"), (1, ""))
    return next(f"{size / unit:.4g}{letter}" for unit, letter in units if size >= unit)
