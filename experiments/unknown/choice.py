"""Which score of novelty is best, on images that no report has.

Half of a set's classes are known, at random, and models are fitted on three fifths of their images. Unknown
are the other classes (near), and sets of other images (far). ``compact`` was trained on none of the images.
"""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from experiments.guarantees.sets import Places, Pool, embed, parts, pictures
from experiments.unknown.scores import Scorer
from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import Classifier, ConstrainedCentroid, LinearProbe, ZeroShot
from fused_clip.model.calibration_rows import NEIGHBORS, REFERENCE_ROWS
from fused_clip.store import Store
from fused_clip.support.arrays import FloatArray, IntArray

# Far sets that no report pairs with the known one.
TASKS = {
    "mnist choice": ("cifar10 choice",),
    "fashion choice": ("cifar10 choice", "mnist choice"),
    "cifar10 choice": ("mnist choice", "fashion choice"),
    "cifar100 choice": ("mnist choice", "fashion choice"),
}
CLASSIFIERS: dict[str, type[Classifier]] = {
    "constrained_centroid": ConstrainedCentroid,
    "zero_shot": ZeroShot,
    "linear_probe": LinearProbe,
}
PACKAGE = f"mean of {NEIGHBORS} neighbours, {REFERENCE_ROWS} rows"  # the score of `--unknown`
TRAINED, SHOWN = 0.6, 1_000  # share of the known images; images of each unknown set


class Task(NamedTuple):
    """What one process does: all classifiers and scores for one draw of known classes."""

    backbone: str
    known: str
    seed: int
    places: Places


class _Drawn(NamedTuple):
    """Images of the known classes, and the names of these."""

    train: FloatArray
    targets: IntArray
    new: FloatArray
    names: list[str]


def file_of(task: Task) -> str:
    """Name the file of a task's measurements.

    Parameters
    ----------
    task : the draw.
    """
    return f"{task.known}-{task.backbone}-{task.seed}.json".replace(" ", "-")


def measure(task: Task) -> list[dict[str, Any]]:
    """Measure the AUROC of every score between new images of the known classes and unknown ones.

    Parameters
    ----------
    task : the draw.
    """
    rng = np.random.default_rng(task.seed)
    whole = _pool(task.known, task)
    known = np.sort(rng.permutation(len(whole.names))[: len(whole.names) // 2])
    drawn = _drawn(whole, known, rng)
    unknown = {"other classes": whole.rows[~np.isin(whole.labels, known)]}
    unknown |= {name.removesuffix(" choice"): _pool(name, task).rows for name in TASKS[task.known]}
    shown = {name: rows[rng.permutation(len(rows))[:SHOWN]] for name, rows in unknown.items()}
    texts = _texts(task, drawn.names)
    common = {"backbone": task.backbone, "known": task.known.removesuffix(" choice"), "seed": task.seed}
    return [
        {**common, "classifier": classifier, "unknown": name, "score": score, "auroc": auroc}
        for classifier, kind in CLASSIFIERS.items()
        for name, score, auroc in _aurocs(_scorer(kind(), texts, drawn, task.seed), drawn.new, shown)
    ]


def _pool(name: str, task: Task) -> Pool:
    return embed(pictures(name, task.backbone, task.places), task.backbone, task.places)


def _drawn(whole: Pool, known: IntArray, rng: np.random.Generator) -> _Drawn:
    rows = rng.permutation(np.flatnonzero(np.isin(whole.labels, known)))
    train, new = np.split(rows, [round(TRAINED * len(rows))])
    names = [whole.names[label].replace("_", " ") for label in known]
    targets = np.searchsorted(known, whole.labels[train])
    return _Drawn(whole.rows[train], targets, whole.rows[new], names)


def _texts(task: Task, names: list[str]) -> FloatArray:
    caption = "This is a digit {}" if task.known.startswith("mnist") else "This is a {}"
    _, backbone = parts("mnist_5k", task.backbone)
    return Store(task.places.output_dir / "store").texts(backbone, [caption.format(name) for name in names])


def _scorer(classifier: Classifier, texts: FloatArray, drawn: _Drawn, seed: int) -> Scorer:
    model = PromptFusedClassifier(texts, np.arange(len(texts)), classifier=classifier, random_state=seed)
    with warnings.catch_warnings(
        action="ignore"
    ):  # few rows of CIFAR-100's classes: a probe may not converge
        model.fit(drawn.train, drawn.targets)
    return Scorer(model, drawn.train, seed)


def _aurocs(
    scorer: Scorer, new: FloatArray, unknown: dict[str, FloatArray]
) -> Iterator[tuple[str, str, float]]:
    known = scorer.scores(new)
    for name, rows in unknown.items():
        is_unknown = np.repeat([False, True], [len(new), len(rows)])
        for score, values in scorer.scores(rows).items():
            yield name, score, float(roc_auc_score(is_unknown, np.concatenate([known[score], values])))


def table(found: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Mean AUROC of each score, best first.

    Columns: near and far for each backbone; the mean of all four; its difference from the package's score,
    mean and standard deviation over draws; the worst of all combinations of backbone, sets and classifier.

    Parameters
    ----------
    found : of all tasks.
    """
    import pandas as pd

    all_ = pd.DataFrame(found)
    all_["kind"] = np.where(all_["unknown"] == "other classes", "near", "far")
    kinds = all_.groupby(["score", "seed", "backbone", "kind"])["auroc"].mean()
    overall = kinds.groupby(["score", "seed"]).mean()
    worst = all_.groupby(["score", "backbone", "known", "unknown", "classifier"])["auroc"].mean()
    means = overall.groupby("score").mean()
    differences = overall - overall[PACKAGE].reindex(overall.index, level="seed")
    cells = kinds.groupby(["score", "backbone", "kind"]).mean()
    rows = []
    for score in means.sort_values(ascending=False, kind="stable").index:
        own = {
            f"{backbone}, {kind}": f"{cells[score, backbone, kind]:.3f}"
            for backbone, kind in cells[score].index
        }
        rows.append(
            {
                "score": str(score),
                **own,
                "mean": f"{means[score]:.4f}",
                "difference": f"{differences.loc[score].mean():+.4f} ± {differences.loc[score].std():.4f}",
                "worst": f"{worst[score].min():.3f}",
            }
        )
    return rows
