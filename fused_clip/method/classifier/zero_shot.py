"""Zero-shot classification: the nearest prompt by cosine similarity."""

from typing import ClassVar, Self

import numpy as np

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training
from fused_clip.support.arrays import Rows


class ZeroShot(Classifier):
    """Nearest prompt by cosine similarity: no image is trained on (Radford et al. 2021, arXiv:2103.00020).

    Attributes
    ----------
    text_embeddings_ : (p, d) unit text rows.
    prompt_of_target_ : (K,) prompt that stands for each target.
    """

    uses_clusters: ClassVar[bool] = False
    uses_text: ClassVar[bool] = True

    def fit(self, training: Training) -> Self:
        """Normalise the prompts.

        Raises
        ------
        ValueError
            Without text.
        """
        if training.texts is None or training.prompt_of_target is None:
            raise ValueError("zero-shot classification needs prompts")
        unit = training.texts / np.linalg.norm(training.texts, axis=1, keepdims=True)
        arrays = {"text_embeddings": unit, "prompt_of_target": training.prompt_of_target}
        return self.restore(arrays, training.n_targets, training.fusion)

    def check_arrays(self) -> None:
        """Check that every target has a prompt."""
        self._index("prompt_of_target", self.n_targets_, len(self._floats("text_embeddings")))
        self.targets_ = np.arange(self.n_targets_)

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by cosine similarity minus 1: in [-2, 0]."""
        products = (X @ self.text_embeddings_.T)[:, self.prompt_of_target_].astype(np.float64)
        norms = np.linalg.norm(X, axis=1, keepdims=True).astype(np.float64)
        return TargetScores(products / np.where(norms == 0, 1, norms) - 1)
