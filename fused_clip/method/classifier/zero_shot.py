"""Zero-shot classification: the nearest prompt by cosine similarity."""

from typing import ClassVar, Self

import numpy as np
from sklearn.base import clone

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training, equal_rows
from fused_clip.method.fusion import l2_normalized
from fused_clip.support.arrays import Rows
from fused_clip.support.errors import InputError


class ZeroShot(Classifier):
    """Nearest prompt by cosine similarity: no image is trained on (Radford et al. 2021, arXiv:2103.00020).

    Parameters
    ----------
    normalize_texts : bool
        True: cosine similarities. False: inner products of unit images with the text rows as they are, over
        the norm of the longest, which changes no answer. On the rows of ``text=mean_similarity`` they are
        mean similarities over the texts of a prompt (Menon and Vondrick 2022, arXiv:2210.07183).

    Attributes
    ----------
    text_embeddings_ : (p, d) text rows, unit or as long as 1 at most.
    prompt_of_target_ : (K,) prompt that stands for each target.
    """

    uses_clusters: ClassVar[bool] = False
    uses_text: ClassVar[bool] = True

    def __init__(self, normalize_texts: bool = True) -> None:
        self.normalize_texts = normalize_texts

    def fit(self, training: Training) -> Self:
        """Normalise the prompts.

        Raises
        ------
        ValueError
            Without text.
        """
        if training.texts is None or training.prompt_of_target is None:
            raise ValueError("zero-shot classification needs prompts")
        lengths = np.linalg.norm(training.texts, axis=1, keepdims=True)
        rows = training.texts / (lengths if self.normalize_texts else lengths.max())
        arrays = {"text_embeddings": rows, "prompt_of_target": training.prompt_of_target}
        return self.restore(arrays, training.n_targets, training.fusion)

    def without_text(self, training: Training) -> Self:
        """Be fitted on equal prompts: every target then has the same score."""
        arrays = {
            "text_embeddings": equal_rows(self.text_embeddings_),
            "prompt_of_target": self.prompt_of_target_,
        }
        fitted: Self = clone(self).restore(arrays, self.n_targets_, self.fusion_)
        return fitted

    def check_arrays(self) -> None:
        """Check that every target has a prompt."""
        self._index("prompt_of_target", self.n_targets_, len(self._floats("text_embeddings")))
        self.targets_ = np.arange(self.n_targets_)

    def with_target(self, text: Rows) -> Self:
        """Add a target by the direction of its text.

        Raises
        ------
        InputError
            If the text rows keep their lengths: those of the prompts were divided by the longest.
        """
        if not self.normalize_texts:
            rule = "can't be added to zero-shot with normalize_texts=False: its length would not compare"
            raise InputError("target", rule, hint="Use a run with classifier=zero_shot")
        texts, prompts = self.text_embeddings_, self.prompt_of_target_
        return self._with_arrays(
            text_embeddings=np.concatenate([texts, l2_normalized(text).astype(texts.dtype)]),
            prompt_of_target=np.append(prompts, len(texts)),
        )

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by its similarity minus 1: in [-2, 0].

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        products = (X @ self.text_embeddings_.T)[:, self.prompt_of_target_].astype(np.float64)
        norms = np.linalg.norm(X, axis=1, keepdims=True).astype(np.float64)
        return TargetScores(products / np.where(norms == 0, 1, norms) - 1)
