"""Helpers of classifiers that compare unit rows: CLIP's logits, and linear classifiers of unit rows."""

import numpy as np

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training
from fused_clip.method.fusion import unit_rows
from fused_clip.support.arrays import DoubleArray, IntArray, Rows

LOGIT_SCALE = 100.0  # of CLIP's cosines: the bound of its learnt temperature (arXiv:2103.00020, section 2.5)


def texts_of(training: Training) -> DoubleArray | None:
    """(K, d) unit text row of the prompt that stands for each target; None without text.

    Parameters
    ----------
    training : with prompts or without.
    """
    return None if training.texts is None else unit_rows(training.text_of_target)


class UnitLinear(Classifier):
    """Base of classifiers whose scores are linear in the unit image rows: ``x w_k + b_k``.

    Attributes
    ----------
    coef_ : (S, d) weights of the targets that can be predicted.
    intercept_ : (S,) their intercepts.
    targets_ : (S,) those targets.
    """

    coef_: DoubleArray
    intercept_: DoubleArray

    def check_arrays(self) -> None:
        """Check that weights, intercepts and targets have a row a target."""
        count = len(self._floats("coef"))
        self._index("targets", count, self.n_targets_)
        if self.intercept_.shape != (count,):
            raise ValueError(f"intercept must be {count} numbers")

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by its linear function; -inf for a target that can't be predicted.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        values = np.full((len(X), self.n_targets_), -np.inf)
        if len(X):
            values[:, self.targets_] = unit_rows(X) @ self.coef_.T + self.intercept_
        return TargetScores(values)

    def _set_linear(
        self, training: Training, coef: DoubleArray, intercept: DoubleArray, targets: IntArray
    ) -> None:
        """Be fitted with weights (S, d) and intercepts (S,) of the given (S,) targets."""
        if not len(targets):
            raise ValueError(f"{type(self).__name__} needs a labelled image or prompts")
        # Row by row in memory, as in a file: the last bits of a product depend on it.
        arrays = {"coef": np.ascontiguousarray(coef), "intercept": intercept, "targets": targets}
        self.restore(arrays, training.n_targets, training.fusion)
