"""What the project promises of its speed and memory, and what the runs of a machine say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Literal

from experiments.benchmarks.measure import Results, Run, exponent
from experiments.benchmarks.spectral import DRAWN
from experiments.benchmarks.whole_script import test_images

WHOLE = 2_000  # training images a set of the whole script
Values = Callable[[Results], list[float]]


@dataclass(frozen=True)
class Promise:
    """A bound on a number that benchmarks measure.

    Parameters
    ----------
    text : the aim.
    values : gives the number of each run, or of each pair of runs; none if it was not measured.
    bound : that the median of the values keeps.
    kind : whether the median is to be at least or at most the bound.
    unit : of the values.
    """

    text: str
    values: Values
    bound: float
    kind: Literal["at least", "at most"] = "at least"
    unit: str = "times"

    def row(self, results: Results) -> str:
        """Line of a Markdown table: aim, bound, median with range and number of values, kept or missed.

        Parameters
        ----------
        results : runs of a machine.
        """
        values, unit = self.values(results), f" {self.unit}" if self.unit else ""
        bound = f"{self.kind} {self.bound:g}{unit}"
        if not values:
            return f"| {self.text} | {bound} | not measured | |"
        middle = median(values)
        spread = (
            f" ({min(values):.3g} to {max(values):.3g}, n = {len(values)})" if len(values) > 1 else ", n = 1"
        )
        kept = middle >= self.bound if self.kind == "at least" else middle <= self.bound
        verdict = "kept" if kept else "**missed**"
        measured = f"{middle:.3g}{unit}{spread}"
        return f"| {self.text} | {bound} | {measured} | {verdict} |"


def runs_of(results: Results, task: str, method: str, size: int) -> list[Run]:
    """Runs of a method at a size, in their order."""
    return [run for run in results.runs if (run.task, run.method, run.size) == (task, method, size)]


def paired_ratios(ours: Sequence[Run], peer: Sequence[Run]) -> list[float]:
    """Seconds of the peer's run over seconds of ours, turn by turn, as many as both have."""
    return [b.seconds / a.seconds for a, b in zip(ours, peer, strict=False)]


def ratio(results: Results, task: str, ours: str, peer: str, size: int) -> list[float]:
    """How many times as fast as the peer, turn by turn."""
    return paired_ratios(runs_of(results, task, ours, size), runs_of(results, task, peer, size))


def facts(results: Results, task: str, method: str, size: int, name: str) -> list[float]:
    """A fact of each run."""
    return [run.facts[name] for run in runs_of(results, task, method, size) if name in run.facts]


def lowest(results: Results, task: str, methods: Sequence[str], size: int, name: str) -> list[float]:
    """A fact of each run, of the method whose median is the lowest."""
    measured = [values for one in methods if (values := facts(results, task, one, size, name))]
    return min(measured, key=median, default=[])


def peaks(results: Results, task: str, method: str, size: int) -> list[float]:
    """Peak memory of each run, 10^9 bytes."""
    return [run.peak_gb for run in runs_of(results, task, method, size)]


def seconds(results: Results, task: str, method: str, size: int) -> list[float]:
    """Elapsed time of each run, s."""
    return [run.seconds for run in runs_of(results, task, method, size)]


def times_as_long(results: Results, task: str, method: str, sizes: tuple[int, int]) -> list[float]:
    """How many times as long the larger size takes, turn by turn."""
    small, large = (runs_of(results, task, method, size) for size in sizes)
    return paired_ratios(small, large)


def growth(results: Results, task: str, method: str, sizes: tuple[int, int]) -> list[float]:
    """How much more memory the larger size takes, turn by turn, 10^9 bytes."""
    small, large = (peaks(results, task, method, size) for size in sizes)
    return [b - a for a, b in zip(small, large, strict=False)]


def images_apart(results: Results, ours: str) -> list[float]:
    """Largest difference to the naive script's accuracy over sets and strategies, in images, by turns."""
    both = (runs_of(results, "whole script", one, WHOLE) for one in (ours, "naive script"))
    return [
        round(max(abs(a.facts[cell] - b.facts[cell]) for cell in a.facts) * test_images(WHOLE))
        for a, b in zip(*both, strict=False)
    ]


def time_exponent(results: Results, task: str, method: str, largest: int) -> list[float]:
    """Slope of median seconds against size on logarithmic axes, up to a size; one value."""
    own = [run for run in results.runs if (run.task, run.method) == (task, method) and run.size <= largest]
    sizes = sorted({run.size for run in own})
    if len(sizes) < 2:
        return []
    return [exponent(sizes, [median(run.seconds for run in own if run.size == size) for size in sizes])]


MILLION, MAPPED = 1_000_000, "fused_clip, memory map"
SCRIPT, EXACT, APPROXIMATE = "whole script", "fused_clip, exact graph", "fused_clip, approximate graph"
UP = ("bilinear, up from 32 x 32", "bicubic, up from 32 x 32")
DOWN = tuple(
    f"{how}, {shape}"
    for how in ("bilinear", "bicubic")
    for shape in ("down from 420 x 420", "wide from 210 x 400", "tall from 400 x 210")
)
naive_script = partial(ratio, task=SCRIPT, peer="naive script", size=WHOLE)
spectral = partial(ratio, task="spectral", peer="scikit-learn")
preparing = partial(lowest, task="preprocessing", size=256, name="times_ViT-B/32")

PROMISES: tuple[Promise, ...] = (
    Promise("the whole script, to a naive one", partial(naive_script, ours="fused_clip"), 8),
    Promise(
        "the same without references and MLflow", partial(naive_script, ours="fused_clip, the same work"), 8
    ),
    Promise("its time", partial(seconds, task=SCRIPT, method="fused_clip", size=WHOLE), 7, "at most", "s"),
    *(
        Promise(
            f"eight cells, {way}, from a cold process",
            partial(seconds, task="8 stored cells", method=way, size=WHOLE),
            4,
            "at most",
            "s",
        )
        for way in ("embeddings stored", "all finished")
    ),
    Promise(
        "its accuracy is the naive script's",
        partial(images_apart, ours="fused_clip, the same work"),
        5,
        "at most",
        f"of {test_images(WHOLE)} images",
    ),
    Promise(
        "embedding with ViT-B/32, share of what its products allow",
        partial(facts, task="embedding, ViT-B/32", method="fused_clip", size=1_024, name="of_bound"),
        0.9,
        unit="",
    ),
    Promise("preparing 32 x 32 pixels, to encoding with ViT-B/32", partial(preparing, methods=UP), 20),
    Promise("preparing images of 400 pixels, to encoding", partial(preparing, methods=DOWN), 20),
    Promise(
        "memory of embedding 100,000 images, beyond that of 5,000",
        partial(growth, task="embedding, tiny model", method="fused_clip", sizes=(5_000, 100_000)),
        0.3,
        "at most",
        "GB",
    ),
    Promise("spectral clustering of 20,000, to scikit-learn", partial(spectral, ours=EXACT, size=20_000), 8),
    Promise("of 60,000, exact graph", partial(spectral, ours=EXACT, size=60_000), 25),
    Promise("of 60,000, approximate graph", partial(spectral, ours=APPROXIMATE, size=60_000), 60),
    Promise(
        "its memory at 60,000",
        partial(peaks, task="spectral", method=EXACT, size=60_000),
        2.5,
        "at most",
        "GB",
    ),
    Promise(
        "growth of its time up to 300,000, approximate graph",
        partial(time_exponent, task="spectral", method=APPROXIMATE, largest=300_000),
        1.3,
        "at most",
        "as exponent of n",
    ),
    *(
        Promise(
            f"spectral clustering of a million rows, {place}",
            partial(seconds, task="spectral", method=method, size=MILLION),
            45,
            "at most",
            "s",
        )
        for place, method in (("in memory", APPROXIMATE), ("in a memory map", MAPPED))
    ),
    Promise(
        "of ten million in a memory map",
        partial(seconds, task="spectral", method=MAPPED, size=10 * MILLION),
        900,
        "at most",
        "s",
    ),
    Promise(
        "its memory",
        partial(peaks, task="spectral", method=MAPPED, size=10 * MILLION),
        6,
        "at most",
        "GB",
    ),
    Promise(
        "growth of its time from one million to ten",
        partial(times_as_long, task="spectral", method=MAPPED, sizes=(MILLION, 10 * MILLION)),
        12,
        "at most",
    ),
    *(
        Promise(
            f"ARI of its partition to the exact one, 100,000 rows, {name}, least of five draws",
            partial(facts, task="agreement of graphs", method=name, size=100_000, name="least ARI to exact"),
            0.98,
            unit="",
        )
        for name in DRAWN
    ),
    Promise(
        "a whole cell of a million rows",
        partial(seconds, task="one cell of vectors", method="fused_clip", size=MILLION),
        300,
        "at most",
        "s",
    ),
    Promise(
        "its memory",
        partial(peaks, task="one cell of vectors", method="fused_clip", size=MILLION),
        10,
        "at most",
        "GB",
    ),
    Promise(
        "exact silhouette of 60,000 rows, to scikit-learn",
        partial(ratio, task="silhouette", ours="fused_clip", peer="scikit-learn", size=60_000),
        3,
    ),
    Promise(
        "predicting 10,000 images, share of the rate of embedding alone",
        partial(
            facts, task="predicting, compact", method="fused_clip", size=10_000, name="of_plain_embedding"
        ),
        0.95,
        unit="",
    ),
    Promise(
        "predicting 400-pixel JPEG photos with ViT-B/32, share of the rate of encoding alone",
        partial(facts, task="predicting, photos", method="fused_clip", size=512, name="of_encoder"),
        0.9,
        unit="",
    ),
    Promise(
        "logging a model",
        partial(facts, task="logging a model", method="fused_clip", size=5, name="seconds_a_model"),
        0.3,
        "at most",
        "s",
    ),
    Promise(
        "a cell's figures",
        partial(
            facts, task="sweep of stored cells", method="one by one", size=8, name="figures_seconds_a_cell"
        ),
        8,
        "at most",
        "s",
    ),
    Promise(
        "eight stored cells side by side, to one by one",
        partial(ratio, task="sweep of stored cells", ours="side by side", peer="one by one", size=8),
        1,
    ),
)


def table(results: Results) -> Iterator[str]:
    """Yield the lines of the table of promises; nothing where none was measured.

    Parameters
    ----------
    results : runs of a machine.
    """
    if any(promise.values(results) for promise in PROMISES):
        yield from ("", "| aim | bound | measured: median (range) | |", "|---|---|---|---|")
        yield from (promise.row(results) for promise in PROMISES)
