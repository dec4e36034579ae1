"""Whether ``method=auto`` is ever below zero-shot: ``python -m experiments.methods.safety``.

Two conditions in which methods that expect every class fail: batches of 64 test images of 1 to 4 classes,
and classes whose frequencies, in training and test, fall geometrically to one fiftieth. With no label, four a
class (or all that a rare class has) and all. Writes ``results/<backbone>_safety.csv``.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from experiments.methods.measure import (
    BACKBONES,
    DATASETS,
    HERE,
    SEEDS,
    Data,
    Task,
    Wanted,
    draw_data,
    inputs_for,
    methods_of,
    prepared_for,
)
from experiments.methods.page import write_rows
from fused_clip.audit.choice import choose
from fused_clip.audit.fitting import fit_classifier
from fused_clip.method import text
from fused_clip.method.budget import LabelBudget
from fused_clip.method.classifier import ZeroShot
from fused_clip.report.studies.significance import Estimate, holm, seed_estimate
from fused_clip.store import Store
from fused_clip.support.arrays import IntArray

BATCHES, BATCH, MOST_KINDS = 100, 64, 4
RATIO = 50
MARGIN = 0.005
BUDGETS = (0, 4, None)


class Drawn(NamedTuple):
    """Rows of the training images, and of the test images that are answered."""

    train: IntArray
    test: IntArray


def few_classes(labels: IntArray, tested: IntArray, rng: np.random.Generator) -> Drawn:
    """All training images; batches of test images of one to four classes."""
    batches = []
    for _ in range(BATCHES):
        kinds = rng.choice(np.unique(tested), rng.integers(1, MOST_KINDS + 1), replace=False)
        batches.append(rng.choice(np.flatnonzero(np.isin(tested, kinds)), BATCH))
    return Drawn(np.arange(len(labels)), np.concatenate(batches))


def imbalanced(labels: IntArray, tested: IntArray, rng: np.random.Generator) -> Drawn:
    """Classes in random order, each rarer than the one before: the last one fiftieth of the first."""
    order = rng.permutation(np.unique(labels))
    shares = np.geomspace(1, 1 / RATIO, len(order))

    def thinned(kinds: IntArray) -> IntArray:
        rows = []
        for kind, share in zip(order, shares, strict=True):
            own = rng.permutation(np.flatnonzero(kinds == kind))
            rows.append(own[: max(1, round(share * len(own)))])
        return np.sort(np.concatenate(rows))

    return Drawn(thinned(labels), thinned(tested))


CONDITIONS: dict[str, Callable[[IntArray, IntArray, np.random.Generator], Drawn]] = {
    "batches of 1 to 4 classes": few_classes,
    "imbalance 1:50": imbalanced,
}


def measure(
    backbone: str, dataset: str, seed: int, output_dir: Path
) -> list[tuple[str, int | None, str, float, float]]:
    """Condition, labels, what was chosen, accuracy of method=auto and of zero-shot."""
    store, found = Store(output_dir / "store"), []
    task = Task(backbone, dataset, seed, output_dir, output_dir, ())
    for budget in BUDGETS:
        prepared = prepared_for(task, Wanted("auto", "", budget != 0, ["method=auto"]), budget)
        data = draw_data(prepared, store, seed)
        for name, condition in CONDITIONS.items():
            drawn = condition(data.labels, data.test_labels, np.random.default_rng(seed))
            some = Data(data.train[drawn.train], data.labels[drawn.train], data.test, data.test_labels)
            known = LabelBudget(budget, seed).known(some.labels)
            inputs = inputs_for(prepared, some, store, prepared.prompts.targets(known))
            chosen = choose(methods_of(prepared, store, seed), inputs, seed).candidate
            right = []
            plain = replace(chosen.method, classifier=ZeroShot(), text=text.prompt, text_uses_labels=False)
            for method in (chosen.method, plain):
                answers = (
                    fit_classifier(method, inputs).target_scores(data.test[drawn.test]).values.argmax(axis=1)
                )
                right.append(
                    float((answers == prepared.prompts.targets(data.test_labels[drawn.test])).mean())
                )
            found.append((name, budget, chosen.name, *right))
    return found


def main() -> None:
    """Measure every backbone and dataset that the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, choices=BACKBONES)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), help="whose store has the embeddings"
    )
    given = parser.parse_args()
    for backbone in given.backbones:
        rows: list[dict[str, str]] = []
        estimates: list[Estimate] = []
        for dataset in given.datasets:
            calls = [
                delayed(measure)(backbone, dataset, seed, given.output_dir) for seed in range(given.seeds)
            ]
            for draws in zip(*Parallel(given.jobs)(calls), strict=True):
                name, budget = draws[0][:2]
                auto, plain = (np.array([draw[place] for draw in draws]) for place in (3, 4))
                estimates.append(seed_estimate((auto - plain).tolist()))
                rows.append(
                    {
                        "condition": name,
                        "dataset": dataset,
                        "labels": "all" if budget is None else str(budget),
                        "zero-shot": f"{plain.mean():.4f}",
                        "auto": f"{auto.mean():.4f}",
                        "difference": f"{estimates[-1].mean:+.4f}",
                        "chosen": ", ".join(sorted({draw[2] for draw in draws})),
                    }
                )
            print(backbone, dataset, flush=True)
        write_rows(HERE / "results" / f"{backbone}_safety.csv", _with_verdicts(rows, estimates))


def _with_verdicts(rows: list[dict[str, str]], estimates: list[Estimate]) -> list[dict[str, str]]:
    """Add whether auto is below zero-shot by more than the margin: t-tests, Holm-corrected over the table."""
    below = [
        estimate._replace(mean=estimate.mean + MARGIN).p_value if estimate.mean < -MARGIN else 1.0
        for estimate in estimates
    ]
    corrected = holm(below)
    verdicts = [
        "" if estimate.mean >= -MARGIN else ("below" if p < 0.05 else f"below, p {p:.2f}")
        for estimate, p in zip(estimates, corrected, strict=True)
    ]
    return [{**row, f"below by {MARGIN}": verdict} for row, verdict in zip(rows, verdicts, strict=True)]


if __name__ == "__main__":
    main()
