"""Wrong labels of two kinds."""

from typing import NamedTuple

import numpy as np

from fused_clip.support.arrays import BoolArray, IntArray

KINDS = ("any", "similar")
# Errors of CIFAR-10 as in Patrini et al., CVPR 2017 (arXiv:1609.03683), section 5: true class -> wrong one.
SIMILAR = {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"}


class Planted(NamedTuple):
    """Labels, some of them wrong.

    Parameters
    ----------
    labels : (n,) class of each row, in [0, C).
    wrong : (n,) whether it is wrong.
    """

    labels: IntArray
    wrong: BoolArray


def plant(labels: IntArray, names: tuple[str, ...], kind: str, share: float, seed: int) -> Planted:
    """Replace the labels of a random share of the rows.

    Parameters
    ----------
    labels : (n,) true classes, in [0, C).
    names : of the C classes.
    kind : ``any`` takes any other class alike; ``similar`` that of `SIMILAR`, of its true classes alone.
    share : of all rows.
    seed : draws rows and classes.
    """
    rng = np.random.default_rng(seed)
    wrong_class = np.full(len(names), -1)
    for true, other in SIMILAR.items():
        wrong_class[names.index(true)] = names.index(other)
    able = np.flatnonzero(wrong_class[labels] >= 0) if kind == "similar" else np.arange(len(labels))
    rows = rng.choice(able, round(share * len(labels)), replace=False)
    changed = labels.copy()
    if kind == "similar":
        changed[rows] = wrong_class[labels[rows]]
    else:
        changed[rows] = (labels[rows] + rng.integers(1, len(names), len(rows))) % len(names)
    return Planted(changed, changed != labels)
