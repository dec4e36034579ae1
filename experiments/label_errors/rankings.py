"""Rankings of labels, the most likely wrong first, and how many planted errors each finds."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.label_errors.planted import Planted
from fused_clip.review.evidence_sources import sources
from fused_clip.review.label_pool import LabelPool
from fused_clip.support.arrays import BoolArray, DoubleArray, FloatArray, IntArray

OURS = "review"
_LIKELY = 0.5
_FOLDS = 5
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse


class Flagged(NamedTuple):
    """A set of labels that a method calls wrong.

    Parameters
    ----------
    number : of them.
    precision : share of them that are planted; 0 for an empty set.
    recall : share of the planted ones that are among them.
    """

    number: int
    precision: float
    recall: float

    @classmethod
    def of(cls, called: BoolArray, wrong: BoolArray) -> "Flagged":
        """Count.

        Parameters
        ----------
        called : (n,) whether the method calls a label wrong.
        wrong : (n,) whether it is planted.
        """
        found = int((called & wrong).sum())
        return cls(int(called.sum()), found / max(int(called.sum()), 1), found / int(wrong.sum()))


def precision(scores: DoubleArray, wrong: BoolArray) -> float:
    """Share of planted errors among as many rows of lowest score; ties in the order of the rows.

    Parameters
    ----------
    scores : (n,) the lower, the more likely is the label wrong.
    wrong : (n,) whether it is planted.
    """
    first = np.argsort(scores, kind="stable")[: int(wrong.sum())]
    return float(wrong[first].mean())


def reviewed(
    images: FloatArray, planted: Planted, clusters: IntArray, prompts: FloatArray, seed: int
) -> tuple[dict[str, float], Flagged, DoubleArray]:
    """Precision of the review, without its prompts, and of each source; what it flags; its probabilities.

    Parameters
    ----------
    images : (n, d) embeddings.
    planted : their labels.
    clusters : (n,) of a partition that was made with these labels.
    prompts : (K, d) text rows.
    seed : draws the folds.
    """
    labels, wrong = planted
    found = sources(images, labels, clusters, len(prompts), prompts, seed)
    whole = LabelPool.fit(list(found.values()), labels)
    plain = LabelPool.fit([scores for name, scores in found.items() if name != "prompts"], labels)
    own = (np.arange(len(labels)), labels)
    ranked = {OURS: -whole.wrong, f"{OURS} without prompts": -plain.wrong}
    ranked |= {f"{name} alone": scores[own] for name, scores in found.items()}
    flagged = Flagged.of(whole.wrong > _LIKELY, wrong)
    return _precisions(ranked, wrong), flagged, np.exp(whole.log_probabilities)


def cleaned(
    images: FloatArray, planted: Planted, evidence: DoubleArray, seed: int
) -> tuple[dict[str, float], Flagged]:
    """Precision of cleanlab's label quality scores, and what its `find_label_issues` flags.

    Its probabilities are those of a logistic regression on standardised embeddings with scikit-learn's
    penalty, of the one of five penalties with the best out-of-fold likelihood, or of the review. The second
    are those that `find_label_issues` gets.

    Parameters
    ----------
    images : (n, d) embeddings.
    planted : their labels.
    evidence : (n, K) probabilities of the review.
    seed : draws the folds.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    labels, wrong = planted
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    found = {}
    for penalty in _PENALTIES:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=500))
        found[penalty] = cross_val_predict(model, images, labels, cv=folds, method="predict_proba")
    losses = {penalty: log_loss(labels, given) for penalty, given in found.items()}
    tuned = found[min(losses, key=losses.__getitem__)]
    probabilities = {
        "logistic regression": found[1.0], "tuned logistic regression": tuned, "review": evidence
    }  # fmt: skip
    ranked = {
        f"cleanlab, {name}": get_label_quality_scores(labels, given) for name, given in probabilities.items()
    }
    called = find_label_issues(labels, tuned)
    return _precisions(ranked, wrong), Flagged.of(np.asarray(called), wrong)


def _precisions(ranked: Mapping[str, DoubleArray], wrong: BoolArray) -> dict[str, float]:
    return {name: precision(scores, wrong) for name, scores in ranked.items()}
