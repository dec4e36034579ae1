"""Zero-shot classification: the nearest prompt by cosine similarity."""

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training
from fused_clip.method.fusion import Fusion
from fused_clip.support.arrays import Array, Rows


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

        Parameters
        ----------
        training : prompts, and the prompt of each target.

        Raises
        ------
        ValueError
            Without text.
        """
        if training.texts is None or training.prompt_of_target is None:
            raise ValueError("zero-shot classification needs prompts")
        # Not l2_normalized: the cosine of a zero row is undefined, and shows as NaN.
        self.text_embeddings_ = training.texts / np.linalg.norm(training.texts, axis=1, keepdims=True)
        self.prompt_of_target_ = training.prompt_of_target
        self.targets_ = np.arange(len(self.prompt_of_target_))
        return self

    def restore(self, arrays: Mapping[str, Array], n_targets: int, fusion: Fusion) -> Self:
        """Be fitted with prompts that are known; see `Classifier.restore`.

        Parameters
        ----------
        arrays : the attributes without their underscore.
        n_targets : K.
        fusion : not used.

        Raises
        ------
        ValueError
            If an array is missing, or does not fit the others.
        """
        self.text_embeddings_ = arrays.get("text_embeddings", np.empty((0, 0)))
        self.prompt_of_target_ = arrays.get("prompt_of_target", np.empty(0, dtype=np.int64))
        index, count = self.prompt_of_target_, len(self.text_embeddings_)
        if index.shape != (n_targets,) or count == 0 or index.min() < 0 or index.max() >= count:
            raise ValueError(f"prompt_of_target must be {n_targets} rows of text_embeddings")
        self.targets_ = np.arange(n_targets)
        return self

    def arrays(self) -> dict[str, Array]:
        """Fitted arrays by name."""
        return {"text_embeddings": self.text_embeddings_, "prompt_of_target": self.prompt_of_target_}

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by cosine similarity minus 1: in [-2, 0].

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        products = (X @ self.text_embeddings_.T)[:, self.prompt_of_target_].astype(np.float64)
        norms = np.linalg.norm(X, axis=1, keepdims=True).astype(np.float64)
        return TargetScores(products / np.where(norms == 0, 1, norms) - 1)
