"""What each published leak of test labels is worth: ``python -m experiments.methods.leaks``.

The same method, labels and test images with the leak and without, on ten draws of labels. Writes
``results/<backbone>_leaks.csv``: the difference, paired over test images and seeds, with its 95 % interval.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from experiments.methods.measure import (
    BACKBONES,
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
from fused_clip.audit.fitting import fit_classifier
from fused_clip.method import text
from fused_clip.method.budget import LabelBudget
from fused_clip.method.leak import Leak, leaked_rows, leaky_classifier, leaky_scores
from fused_clip.method.parts import Method, TextInputs
from fused_clip.report.studies.significance import paired_estimate, seed_estimate
from fused_clip.store import Store
from fused_clip.support.arrays import BoolArray, IntArray

DATASETS = ("cifar10", "cifar100_1", "cifar100_3", "mnist")
BATCHES, BATCH, MOST_KINDS = 20, 64, 4  # of targets_of_test: batches of one to four classes


class Case(NamedTuple):
    """A leak, and a method that was published with it."""

    leak: Leak
    title: str
    options: Sequence[str]
    budget: int = 4


CASES = (
    Case("best_test_epoch", "Tip-Adapter-F", ("classifier=tip_adapter_f",)),
    Case("settings_on_test", "Tip-Adapter", ("classifier=tip_adapter",)),
    Case("settings_on_test", "GDA", ("classifier=gda",)),
    Case(
        "prompts_on_test",
        "best of seven templates",
        ("classifier=zero_shot", "prompt=templates", "text=best"),
    ),
    Case(
        "clusters_on_test",
        "k-means, clusters named by labels",
        ("clusterer=kmeans", "vote=hungarian", "clusters_per_target=1", "prompt=none"),
        0,
    ),
    Case("targets_of_test", "TransCLIP, batches of 64 with 1 to 4 classes", ("classifier=transclip",), 0),
    Case("copies_counted", "GDA", ("classifier=gda",)),
)


def hits(
    case: Case, leak: Leak | None, method: Method, inputs: TextInputs, data: Data, tested: IntArray
) -> BoolArray:
    """Which test images are right, with a leak or without."""
    method = replace(method, leak=leak)
    if leak == "prompts_on_test":
        rows = method.text_rows(replace(inputs, images=data.test, targets=tested))
        inputs, method = (
            replace(inputs, texts=rows),
            replace(method, text=text.prompt, text_uses_labels=False),
        )
    if leak == "clusters_on_test":
        inputs = replace(inputs, images=data.test, targets=tested)
    method = replace(method, classifier=leaky_classifier(method))
    leaked = {} if leak is None else leaked_rows(leak, data.test, tested)
    fitted = fit_classifier(method, inputs, leaked)
    found = []
    for rows in _batches(case, tested, method.seed):
        scores = leaky_scores(leak, fitted.target_scores(data.test[rows]), tested[rows])
        found.append(scores.values.argmax(axis=1) == tested[rows])
    return np.concatenate(found)


def _batches(case: Case, tested: IntArray, seed: int) -> Iterator[IntArray]:
    if case.leak != "targets_of_test":
        yield np.arange(len(tested))
        return
    rng = np.random.default_rng(seed)
    for _ in range(BATCHES):
        kinds = rng.choice(np.unique(tested), rng.integers(1, MOST_KINDS + 1), replace=False)
        yield rng.choice(np.flatnonzero(np.isin(tested, kinds)), BATCH, replace=False)


def measure(
    backbone: str, dataset: str, seed: int, output_dir: Path
) -> dict[int, tuple[BoolArray, BoolArray]]:
    """Hits of every case, by its number: without the leak, and with it."""
    store = Store(output_dir / "store")
    task = Task(backbone, dataset, seed, output_dir, output_dir, ())
    found = {}
    for number, case in enumerate(CASES):
        labels = case.budget > 0 or case.leak == "clusters_on_test"
        wanted = Wanted(case.leak, case.title, labels, case.options)
        prepared = prepared_for(task, wanted, case.budget or None)
        data = draw_data(prepared, store, seed)
        known = prepared.prompts.targets(LabelBudget(case.budget or None, seed).known(data.labels))
        inputs = inputs_for(prepared, data, store, known)
        method = methods_of(prepared, store, seed)[0].method
        tested = prepared.prompts.targets(data.test_labels)
        found[number] = (
            hits(case, None, method, inputs, data, tested),
            hits(case, case.leak, method, inputs, data, tested),
        )
    return found


def main() -> None:
    """Measure every leak on every dataset and backbone that the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, choices=BACKBONES)
    parser.add_argument("--datasets", nargs="+", default=DATASETS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), help="whose store has the embeddings"
    )
    given = parser.parse_args()
    for backbone in given.backbones:
        rows = []
        for dataset in given.datasets:
            calls = [
                delayed(measure)(backbone, dataset, seed, given.output_dir) for seed in range(given.seeds)
            ]
            draws = Parallel(given.jobs)(calls)
            for number, case in enumerate(CASES):
                without, leaky = (np.stack([draw[number][which] for draw in draws]) for which in (0, 1))
                gained = leaky.astype(float) - without
                # Batches of another seed hold other images.
                whole = case.leak != "targets_of_test"
                estimate = paired_estimate(gained) if whole else seed_estimate(gained.mean(axis=1).tolist())
                rows.append(
                    {
                        "leak": case.leak,
                        "method": case.title,
                        "dataset": dataset,
                        "without": f"{without.mean():.4f}",
                        "with": f"{leaky.mean():.4f}",
                        "inflation": f"{estimate.mean:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]",
                    }
                )
            print(backbone, dataset, flush=True)
        write_rows(HERE / "results" / f"{backbone}_leaks.csv", rows)


if __name__ == "__main__":
    main()
