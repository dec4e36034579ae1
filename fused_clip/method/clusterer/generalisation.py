"""How well a labelling of rows generalises: a score of clusters that needs no labels."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import KFold, cross_val_score

from fused_clip.method.fusion import unit_rows
from fused_clip.support.arrays import Rows

FOLDS = 10
_ROWS = 5000  # of a larger set, a sample


def generalisation_score(rows: Rows, labels: ArrayLike, seed: int = 0) -> float:
    """Score a labelling by the accuracy of a linear classifier of it on held-out rows, in [0, 1].

    By it TURTLE chooses between runs (Gadetsky et al., ICML 2024, arXiv:2406.07236): clusters that a linear
    classifier finds again in rows it has not seen tend to be those of human labels. Mean of 10 folds; the
    classifier is a ridge regression on indicators of the labels, from unit rows. A score compares labellings
    with similar numbers of clusters: few large ones are easier.

    Parameters
    ----------
    rows : (n, d) rows; of more than 5,000 a sample is taken.
    labels : (n,) label of each row; rows of label -1 are left out.
    seed : of the sample and the folds.

    Raises
    ------
    ValueError
        If there are fewer than two labels or fewer rows than folds: there is nothing to find again.
    """
    names = np.asarray(labels)
    random = np.random.default_rng(seed)
    kept = np.flatnonzero(names >= 0)
    if len(kept) > _ROWS:
        kept = np.sort(random.choice(kept, _ROWS, replace=False))
    names = names[kept]
    if len(kept) < FOLDS or len(np.unique(names)) < 2:
        found = f"{len(kept)} rows with {len(np.unique(names))} labels"
        raise ValueError(f"a generalisation score needs at least {FOLDS} rows and 2 labels, got {found}")
    folds = KFold(FOLDS, shuffle=True, random_state=int(random.integers(2**31)))
    return float(cross_val_score(RidgeClassifier(), unit_rows(rows[kept]), names, cv=folds).mean())
