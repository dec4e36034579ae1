"""What ``--unknown .05`` finds among test images: AUROC, known images called unknown, unknown images found.

Model, calibration and known images are of one test split (``dataset.from_split=test``,
``calibration.share=.2``), drawn anew for each seed, so that no backbone was trained on any of them.
"""

from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from experiments.guarantees.models import Made, make
from experiments.guarantees.sets import Places, embed, pictures
from experiments.open_backbone.fit import groups
from experiments.unknown.scores import Scorer
from fused_clip.audit.fitting import fit, pair
from fused_clip.guarantee import Guarantee
from fused_clip.guarantee.novelty import novelty
from fused_clip.method.embedding import embed as embed_splits
from fused_clip.method.embedding import embed_members
from fused_clip.method.parts import TextInputs
from fused_clip.store import Store
from fused_clip.support.arrays import DoubleArray, FloatArray

PAIRS = {
    "mnist": ("fashion",),
    "cifar10": ("cifar100", "photos", "photos at 32 pixels", "textures"),
}
LEVEL, SHARE = 0.05, 0.2
PRODUCT = "--unknown"
# Coarse groups of the photos' classes that CIFAR-10 has classes of, or that look like one of its.
OVERLAPPING = (
    "dog",
    "wild dog or fox",
    "cat",
    "bird",
    "frog or salamander",
    "hoofed animal",
    "car",
    "aircraft",
    "boat or ship",
    "truck or other vehicle",
)


class Task(NamedTuple):
    """What one process does: one draw of training, calibration and known images.

    Parameters
    ----------
    scores : whether to measure the other scores, too, which takes most of the time.
    """

    backbone: str
    known: str
    seed: int
    places: Places
    scores: bool


def file_of(task: Task) -> str:
    """Name the file of a task's measurements.

    Parameters
    ----------
    task : the draw.
    """
    return f"{task.known}-report-{task.backbone}-{task.seed}.json"


def measure(task: Task) -> list[dict[str, Any]]:
    """Measure the calls of the package, and the scores, for each set of unknown images.

    Parameters
    ----------
    task : the draw.
    """
    seeds = (f"dataset.seed={task.seed}", f"calibration.seed={task.seed}", f"seed={task.seed}")
    made = make(
        task.known,
        task.backbone,
        "constrained_centroid",
        task.places.output_dir,
        f"calibration.share={SHARE}",
        *seeds,
    )
    guarantee = Guarantee.of(made.model, unknown=LEVEL)
    scorer = _scorer(made, task) if task.scores else None
    known = _scores(guarantee, scorer, made.pool.rows)
    false_alarms = _called(guarantee, made.pool.rows)
    lines = []
    for name, rows in _unknown(task).items():
        unknown = _scores(guarantee, scorer, rows)
        common = {"backbone": task.backbone, "known": task.known, "unknown": name, "seed": task.seed}
        calls = {"images": len(rows), "false_alarms": false_alarms, "found": _called(guarantee, rows)}
        for score in known:
            line = {**common, "score": score, "auroc": _auroc(known[score], unknown[score])}
            lines.append(line | calls if score == PRODUCT else line)
    return lines


def _scorer(made: Made, task: Task) -> Scorer:
    """The same method, fitted on the same images, for the other scores."""
    dataset, backbone, prompts, method = made.prepared[:4]
    store = Store(task.places.output_dir / "store")
    embedded = embed_splits(dataset, prompts, backbone, store)
    members, targets = embed_members(prompts, backbone, store), prompts.targets(dataset.train.labels)
    inputs = TextInputs(embedded.prompts, members, prompts, embedded.train, targets, backbone)
    return Scorer(fit(method, inputs, pair(method, inputs)), embedded.train, task.seed)


def _scores(guarantee: Guarantee, scorer: Scorer | None, rows: FloatArray) -> dict[str, DoubleArray]:
    own = {PRODUCT: novelty(rows, guarantee.calibration.reference)}
    return own if scorer is None else own | scorer.scores(rows)


def _called(guarantee: Guarantee, rows: FloatArray) -> float:
    """Share of the images that are called unknown."""
    return float(np.mean(guarantee.answer(rows).unknown))


def _unknown(task: Task) -> dict[str, FloatArray]:
    """Rows of the unknown images, by name; photos also without things that CIFAR-10 has."""
    overlapping = [number for group in OVERLAPPING for number in groups()[group]]
    found = {}
    for name in PAIRS[task.known]:
        pool = embed(pictures(name, task.backbone, task.places), task.backbone, task.places)
        found[name] = pool.rows
        if name.startswith("photos"):
            found[f"{name}, other things"] = pool.rows[~np.isin(pool.labels, overlapping)]
    return found


def _auroc(known: DoubleArray, unknown: DoubleArray) -> float:
    is_unknown = np.repeat([False, True], [len(known), len(unknown)])
    return float(roc_auc_score(is_unknown, np.concatenate([known, unknown])))


def table(lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What the package finds: mean and standard deviation over seeds.

    Parameters
    ----------
    lines : of all tasks.
    """
    import pandas as pd

    own = pd.DataFrame([line for line in lines if line["score"] == PRODUCT])
    rows = []
    for (known, unknown, backbone), some in own.groupby(["known", "unknown", "backbone"], sort=False):
        shown = {
            title: f"{some[column].mean():.3f} ± {some[column].std():.3f}"
            for title, column in (
                ("AUROC", "auroc"),
                ("known called unknown", "false_alarms"),
                ("unknown found", "found"),
            )
        }
        rows.append(
            {
                "known": known,
                "unknown": f"{unknown} ({some['images'].iloc[0]:,.0f})",
                "backbone": backbone,
                **shown,
            }
        )
    return rows


def scores_table(lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Mean AUROC of every candidate on every pair, best on average first.

    Parameters
    ----------
    lines : of all tasks.
    """
    import pandas as pd

    found = pd.DataFrame([line for line in lines if line["score"] != PRODUCT])
    found["pair"] = found["known"] + " / " + found["unknown"] + ", " + found["backbone"]
    wide = found.pivot_table(index="score", columns="pair", values="auroc", sort=False)
    order = wide.mean(axis=1).sort_values(ascending=False, kind="stable").index
    return [
        {"score": str(score), **{str(pair): f"{auroc:.3f}" for pair, auroc in wide.loc[score].items()}}
        for score in order
    ]
