"""Tables and figures of the study from the fits of `measure`: ``python -m experiments.methods.page``.

Writes ``results/<backbone>_<kind>.csv`` and ``results/<backbone>.png``. Differences are paired over test
images and seeds (`fused_clip.report.studies.significance`), with Holm's correction over all of a table.
"""

import argparse
import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.methods.figure import draw
from experiments.methods.fits import Fit, Fits, Key, labels_text, read_fits
from experiments.methods.measure import BACKBONES, BUDGETS, DATASETS, HERE, Wanted, read_methods
from fused_clip.report.studies.significance import Estimate, holm, paired_estimate, seed_estimate
from fused_clip.support.arrays import DoubleArray

RESULTS = HERE / "results"


def against(fits: Fits, key: Key, baseline: Key) -> Estimate:
    """Difference in accuracy of two methods, over the seeds that both have."""
    own, other = fits.get(key, {}), fits.get(baseline, {})
    seeds = sorted(own.keys() & other.keys())
    if len(seeds) < 3:
        return Estimate(math.nan)
    return paired_estimate(np.stack([own[seed].hits.astype(float) - other[seed].hits for seed in seeds]))


def accuracy_rows(
    fits: Fits, methods: Sequence[Wanted], budgets: Sequence[int | None]
) -> list[dict[str, str]]:
    """One row a method and budget: mean accuracy ± half the 95 % interval over seeds, a column a dataset."""
    rows = []
    for wanted in methods:
        for budget in budgets if wanted.labels else (0,):
            cells = {name: fits.get((name, wanted.name, budget), {}) for name in DATASETS}
            if any(cells.values()):
                shown = {name: _accuracy(cell.values()) for name, cell in cells.items()}
                cost = [fit.seconds for cell in cells.values() for fit in cell.values()]
                rows.append(
                    {
                        "method": wanted.title,
                        "labels": labels_text(budget),
                        **shown,
                        "seconds": f"{np.median(cost):.2f}",
                    }
                )
    return rows


def difference_rows(fits: Fits, methods: Sequence[Wanted], baseline: str) -> list[dict[str, str]]:
    """One row a method and budget: difference to a baseline of the same budget, a column a dataset.

    An asterisk marks a difference that is significant after Holm's correction over the whole table.
    """
    uses = {wanted.name: wanted.labels for wanted in methods}
    found: dict[tuple[str, int | None, str], Estimate] = {}
    for wanted in methods:
        for budget in BUDGETS if wanted.labels else (0,):
            other = budget if uses[baseline] else 0
            for name in DATASETS:
                if wanted.name != baseline:
                    estimate = against(fits, (name, wanted.name, budget), (name, baseline, other))
                    if not math.isnan(estimate.mean):
                        found[wanted.name, budget, name] = estimate
    tested = [key for key, estimate in found.items() if not math.isnan(estimate.p_value)]
    corrected = dict(zip(tested, holm([found[key].p_value for key in tested]), strict=True))
    rows = []
    for wanted in methods:
        for budget in BUDGETS if wanted.labels else (0,):
            shown = {
                name: _difference(
                    found.get((wanted.name, budget, name)), corrected.get((wanted.name, budget, name))
                )
                for name in DATASETS
            }
            if any(shown.values()):
                rows.append({"method": wanted.title, "labels": labels_text(budget), **shown})
    return rows


def means_of(fits: Fits, methods: Sequence[Wanted], budget: int | None) -> dict[str, DoubleArray]:
    """Accuracy of each method on every dataset, nan where it was not measured; those without labels too.

    Parameters
    ----------
    fits : of a backbone.
    methods : which are wanted.
    budget : labels a class; with 0, methods that use labels are left out.
    """
    return {
        wanted.name: np.array(
            [_mean(fits.get((name, wanted.name, budget if wanted.labels else 0), {})) for name in DATASETS]
        )
        for wanted in methods
        if budget != 0 or not wanted.labels
    }


def best_rows(fits: Fits, methods: Sequence[Wanted]) -> list[dict[str, str]]:
    """Mean accuracy over the datasets: zero-shot, the paper's, method=auto, and the best three of the others.

    A method counts if it was measured on every dataset on which zero-shot was.
    """
    titles = {wanted.name: wanted.title for wanted in methods}
    rows = []
    for budget in (0, *BUDGETS):
        table = means_of(fits, methods, budget)
        measured = ~np.isnan(table["zero_shot"])
        means = {name: float(values[measured].mean()) for name, values in table.items()}
        paper, auto = ("paper", "auto") if budget != 0 else ("paper_zero_shot", "auto_none")
        others = [name for name in means if not math.isnan(means[name]) and not name.startswith("auto")]
        best = sorted(others, key=lambda name: -means[name])[:3]
        rows.append(
            {
                "labels": labels_text(budget),
                "zero-shot": _plain(means["zero_shot"]),
                "the paper's": _plain(means.get(paper, math.nan)),
                "method=auto": _plain(means.get(auto, math.nan)),
                "best three": "; ".join(f"{titles[name]} {_plain(means[name])}" for name in best),
            }
        )
    return rows


def regret_rows(fits: Fits, methods: Sequence[Wanted]) -> list[dict[str, str]]:
    """Of method=auto, at each number of labels: regret, gain on zero-shot, and what it chose.

    Regret is accuracy below the best inductive method in hindsight, by accuracy on test images: the best of
    each dataset, and the one method that is best in the mean over the datasets.
    """
    rivals = [one for one in methods if "(batch)" not in one.title and not one.name.startswith("auto")]
    rows = []
    for budget in (0, *BUDGETS):
        auto = "auto" if budget != 0 else "auto_none"
        everywhere = np.array([_mean(fits.get((name, auto, budget), {})) for name in DATASETS])
        measured = ~np.isnan(everywhere)
        if not measured.any():
            continue
        own = everywhere[measured]
        table = {name: values[measured] for name, values in means_of(fits, rivals, budget).items()}
        regret = np.nanmax([own, *table.values()], axis=0) - own
        to_one = max(values.mean() for values in table.values() if not np.isnan(values).any()) - own.mean()
        gains = own - table["zero_shot"]
        chosen = [fit.chosen for name in DATASETS for fit in fits.get((name, auto, budget), {}).values()]
        kinds, counts = np.unique(chosen, return_counts=True)
        rows.append(
            {
                "labels": labels_text(budget),
                "mean regret": f"{regret.mean():.4f}",
                "largest regret": f"{regret.max():.4f}",
                "regret to one method": f"{max(to_one, 0):.4f}",
                "mean gain on zero-shot": f"{round(gains.mean(), 4) + 0.0:+.4f}",
                "least gain on zero-shot": f"{round(gains.min(), 4) + 0.0:+.4f}",
                "chosen": ", ".join(f"{kinds[i]} {counts[i]}" for i in np.argsort(-counts)),
            }
        )
    return rows


def _mean(cell: Mapping[int, Fit]) -> float:
    return float(np.mean([fit.accuracy for fit in cell.values()])) if cell else math.nan


def extent_rows(found: Mapping[str, Fits]) -> list[dict[str, str]]:
    """One row a backbone: draws of each dataset, number of fits, and their hours, one thread each."""
    rows = []
    for backbone, fits in found.items():
        draws = {name: [len(cell) for key, cell in fits.items() if key[0] == name] for name in DATASETS}
        seconds = [fit.seconds for cell in fits.values() for fit in cell.values()]
        rows.append(
            {
                "backbone": backbone,
                **{name: _range(counts) for name, counts in draws.items()},
                "fits": str(len(seconds)),
                "hours": f"{sum(seconds) / 3600:.2f}",
            }
        )
    return rows


def _range(counts: Sequence[int]) -> str:
    if not counts:
        return "0"
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _accuracy(cell: Iterable[Fit]) -> str:
    values = [fit.accuracy for fit in cell]
    if not values:
        return ""
    estimate = seed_estimate(values)
    half = "" if math.isnan(estimate.error) else f" ± {_plain(estimate.high - estimate.mean)}"
    return f"{_plain(estimate.mean)}{half}"


def _difference(estimate: Estimate | None, corrected: float | None) -> str:
    if estimate is None:
        return ""
    star = "*" if corrected is not None and corrected < 0.05 else ""
    return f"{estimate.mean:+.3f}{star}".replace("0.", ".", 1)


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}".removeprefix("0")


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows of text as CSV; no file for no row."""
    if rows:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def main() -> None:
    """Write tables and figures of every backbone that was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fits", type=Path, default=Path("outputs/methods"), help="what `measure` wrote")
    given = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    methods = read_methods()
    found = {backbone: fits for backbone in BACKBONES if (fits := read_fits(given.fits / backbone))}
    write_rows(RESULTS / "extent.csv", extent_rows(found))
    for backbone, fits in found.items():
        free = [wanted for wanted in methods if not wanted.labels]
        own = [wanted for wanted in methods if wanted.labels]
        write_rows(RESULTS / f"{backbone}_no_labels.csv", accuracy_rows(fits, free, BUDGETS))
        write_rows(RESULTS / f"{backbone}_labels.csv", accuracy_rows(fits, own, BUDGETS))
        for baseline in ("zero_shot", "paper"):
            compared = methods if baseline == "zero_shot" else [*own]
            write_rows(
                RESULTS / f"{backbone}_against_{baseline}.csv", difference_rows(fits, compared, baseline)
            )
        write_rows(RESULTS / f"{backbone}_best.csv", best_rows(fits, methods))
        write_rows(RESULTS / f"{backbone}_auto.csv", regret_rows(fits, methods))
        (RESULTS / f"{backbone}.png").write_bytes(draw(fits, methods, backbone))


if __name__ == "__main__":
    main()
