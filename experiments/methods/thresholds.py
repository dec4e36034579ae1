"""What the thresholds of ``method=auto`` without labels were set by.

``python -m experiments.methods.thresholds`` looks at training images alone: how well answers are found again,
how many are those of zero-shot, and their accuracy, by labels of these images that the choice does not see.
Writes ``results/thresholds.csv``.
"""

import argparse
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from experiments.methods.measure import (
    BACKBONES,
    DATASETS,
    HERE,
    Task,
    Wanted,
    draw_data,
    inputs_for,
    methods_of,
    prepared_for,
)
from experiments.methods.page import write_rows
from fused_clip.audit.fitting import fit_classifier
from fused_clip.method.clusterer import generalisation_score
from fused_clip.store import Store

ROWS = 2000


def measure(backbone: str, dataset: str, output_dir: Path) -> list[dict[str, str]]:
    """One row a candidate."""
    store = Store(output_dir / "store")
    prepared = prepared_for(
        Task(backbone, dataset, 0, output_dir, output_dir, ()), Wanted("", "", False, ["method=auto"]), 0
    )
    data = draw_data(prepared, store, 0)
    kept = np.sort(np.random.default_rng(0).permutation(len(data.train))[:ROWS])
    data = data._replace(train=data.train[kept], labels=data.labels[kept])
    inputs = inputs_for(prepared, data, store, np.full(len(data.train), -1))
    rows, first = [], None
    for one in methods_of(prepared, store, 0):
        answers = fit_classifier(one.method, inputs).target_scores(data.train).values.argmax(axis=1)
        first = answers if first is None else first
        rows.append(
            {
                "backbone": backbone,
                "dataset": dataset,
                "candidate": one.name,
                "train accuracy": f"{(answers == prepared.prompts.targets(data.labels)).mean():.3f}",
                "found again": f"{generalisation_score(data.train, answers, 0):.3f}",
                "as zero-shot": f"{(answers == first).mean():.2f}",
            }
        )
    return rows


def main() -> None:
    """Measure both backbones on every dataset but CIFAR-100."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), help="whose store has the embeddings"
    )
    given = parser.parse_args()
    pairs = [(backbone, name) for backbone in BACKBONES for name in DATASETS if name != "cifar100"]
    found = Parallel(given.jobs)(delayed(measure)(*pair, given.output_dir) for pair in pairs)
    write_rows(HERE / "results" / "thresholds.csv", [row for rows in found for row in rows])


if __name__ == "__main__":
    main()
