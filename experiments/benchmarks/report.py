"""The table and the figure of what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.benchmarks.measure import Benchmark, Results, Run
from fused_clip.figures.style import COLOURS, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = "| {task} | n | runs | seconds: median (range) | of CPU | peak GB | times as fast as | outcome |"


class Curve(NamedTuple):
    """Median seconds and memory of a method by size, ascending."""

    benchmark: Benchmark
    sizes: list[int]
    seconds: list[float]
    memory: list[float]


def write(results: Results, benchmarks: Sequence[Benchmark]) -> list[Path]:
    """Write a table (Markdown) and a figure (PNG) beside the results; return the files."""
    table, picture = results.path.with_suffix(".md"), results.path.with_suffix(".png")
    table.write_text("\n".join(_lines(results, benchmarks)) + "\n")
    draw(curves(results, benchmarks), picture)
    return [table, picture]


def curves(results: Results, benchmarks: Sequence[Benchmark]) -> list[Curve]:
    """Collect what was measured of each benchmark; those without a run are left out."""
    found = []
    for one in benchmarks:
        sizes = sorted({run.size for run in results.runs if (run.task, run.method) == (one.task, one.method)})
        runs = [results.of(one, size) for size in sizes]
        seconds = [median(run.seconds for run in group) for group in runs]
        memory = [median(run.peak_gb for run in group) for group in runs]
        if sizes:
            found.append(Curve(one, sizes, seconds, memory))
    return found


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Slope of the least-squares line through the logarithms; NaN for a single size."""
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _lines(results: Results, benchmarks: Sequence[Benchmark]) -> Iterator[str]:
    facts = results.environment
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} used, {facts['memory_gb']} GB;"
    yield f"{facts['system']}, Python {facts['python']}, {versions}."
    loads = [run.load for run in results.runs]
    if loads:
        yield f"Mean load before a run began: {np.mean(loads):.1f} (largest {max(loads):.1f})."
    for task in dict.fromkeys(one.task for one in benchmarks):
        members = [curve for curve in curves(results, benchmarks) if curve.benchmark.task == task]
        if members:
            yield from _table(results, task, members)


def _table(results: Results, task: str, members: Sequence[Curve]) -> Iterator[str]:
    yield from ("", HEADER.format(task=task), "|---|---|---|---|---|---|---|---|")
    peers = [curve.benchmark for curve in members if curve.benchmark.peer]
    for curve in members:
        rivals = [] if curve.benchmark.peer else peers
        for size in curve.sizes:
            yield _row(results.of(curve.benchmark, size), [results.of(peer, size) for peer in rivals])
    yield ""
    yield from (_fit(curve) for curve in members if len(curve.sizes) > 1)


def _row(runs: Sequence[Run], peers: Sequence[Sequence[Run]]) -> str:
    seconds = sorted(run.seconds for run in runs)
    middle = median(seconds)
    spread = f" ({_digits(seconds[0])} to {_digits(seconds[-1])})" if len(runs) > 1 else ""
    faster = ", ".join(_ratio(runs, peer) for peer in peers if peer)
    facts = {name: median(run.facts[name] for run in runs) for name in runs[-1].facts}
    outcome = ", ".join(f"{name} {value:.4g}" for name, value in facts.items())
    cpu = _digits(median(run.cpu_seconds for run in runs))
    memory = f"{median(run.peak_gb for run in runs):.2f}"
    time = _digits(middle) + spread
    cells = (runs[0].method, f"{runs[0].size:,}", len(runs), time, cpu, memory, faster, outcome)
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _ratio(runs: Sequence[Run], peer: Sequence[Run]) -> str:
    elapsed = median(run.seconds for run in peer) / median(run.seconds for run in runs)
    cpu = median(run.cpu_seconds for run in peer) / median(run.cpu_seconds for run in runs)
    return f"{peer[0].method} {elapsed:.1f} (CPU {cpu:.1f})"


def _digits(seconds: float) -> str:
    """Three digits, but no fewer than those before the point."""
    return f"{seconds:,.0f}" if seconds >= 1000 else f"{seconds:.3g}"


def _fit(curve: Curve) -> str:
    time, memory = (exponent(curve.sizes, values) for values in (curve.seconds, curve.memory))
    span = f"{curve.sizes[0]:,} to {curve.sizes[-1]:,}"
    return f"- {curve.benchmark.method}, {span}: time grows as n^{time:.2f}, memory as n^{memory:.2f}"


def draw(measured: Sequence[Curve], path: Path) -> None:
    """Draw seconds and memory against n on logarithmic axes, a row of panels a task."""
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(curve.benchmark.task for curve in measured))
    figure = Figure(figsize=(7.2, 2.6 * max(len(tasks), 1)), layout="constrained")
    panels: Any = figure.subplots(max(len(tasks), 1), 2, squeeze=False)
    for task, (left, right) in zip(tasks, panels, strict=False):
        members = [curve for curve in measured if curve.benchmark.task == task]
        _panel(left, members, f"{task}: seconds", [curve.seconds for curve in members])
        _panel(right, members, f"{task}: peak memory, GB", [curve.memory for curve in members])
    figure.savefig(path, dpi=110)


def _panel(axes: Axes, members: Sequence[Curve], title: str, values: Sequence[Sequence[float]]) -> None:
    for place, (curve, own) in enumerate(zip(members, values, strict=True)):
        slope = exponent(curve.sizes, own)
        label = curve.benchmark.method + ("" if np.isnan(slope) else f", n^{slope:.2f}")
        style = "--" if curve.benchmark.peer else "-"
        axes.plot(
            curve.sizes, own, style, color=COLOURS[place], marker=MARKERS[place], markersize=4, label=label
        )
    axes.set_title(title, fontsize=9, loc="left")
    axes.set(xscale="log", yscale="log", xlabel="n")
    axes.legend(fontsize=7)
