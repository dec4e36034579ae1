"""The parts of a method that follow the embedding, and how prompts are paired with images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from fused_clip.method.classifier import Classifier
from fused_clip.method.fusion import Fusion
from fused_clip.method.prompt import Prompts
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.signatures import accepted

Vote = Literal["label", "prompt", "hungarian"]


class Memory(Protocol):
    """The interface of `joblib.Memory`: functions that remember their results."""

    def cache(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return `func`, looked up before it is computed.

        Parameters
        ----------
        func : a function of estimators, arrays and plain values.
        """


@dataclass(frozen=True)
class Method:
    """The parts that follow the embedding.

    Parameters
    ----------
    pairing : called with those of images, texts, prompt_of_target, random_state and, if
        `pairing_uses_labels`, targets, that its signature names.
    pairing_uses_labels : whether the pairing is given labels.
    text : called with those of texts and random_state that its signature names.
    fusion : fuses image rows with text rows.
    clusterer : scikit-learn clusterer, not fitted.
    classifier : classifies new images; not fitted.
    clusters_per_target : clusters for each target, at least 1.
    vote : how clusters get their targets; see `PromptFusedClassifier`.
    seed : drives every random choice.
    memory : remembers partitions and references; None computes them anew.
    """

    pairing: Callable[..., IntArray]
    pairing_uses_labels: bool
    text: Callable[..., FloatArray]
    fusion: Fusion
    clusterer: Any
    classifier: Classifier
    clusters_per_target: int = 2
    vote: Vote = "label"
    seed: int = 0
    memory: Memory | None = None

    def uses_labels(self, prompts: Prompts) -> bool:
        """Whether any part sees training labels.

        Parameters
        ----------
        prompts : of the run; one prompt, or none, needs no pairing.
        """
        paired = len(prompts.texts) > 1 and self.pairing_uses_labels
        return self.vote != "prompt" or paired or self.classifier.uses_labels

    def pair(
        self, images: FloatArray, texts: FloatArray, targets: IntArray, prompts: Prompts
    ) -> IntArray | None:
        """Pair each training image with a prompt.

        Parameters
        ----------
        images : (n, d) embeddings of the training images.
        texts : (p, d) embeddings of the prompts.
        targets : (n,) target of each image; given on to a pairing that uses labels.
        prompts : the distinct prompts.

        Returns
        -------
        (n,) prompt of each training image; None without text.
        """
        if prompts.prompt_of_target is None:
            return None
        if len(texts) == 1:
            return np.zeros(len(images), dtype=np.int64)
        available = {
            "images": images,
            "texts": texts,
            "prompt_of_target": prompts.prompt_of_target,
            "random_state": self.seed,
        }
        if self.pairing_uses_labels:
            available["targets"] = targets
        return self.pairing(**accepted(self.pairing, available))

    def text_rows(self, texts: FloatArray, seed: int | None = None) -> FloatArray:
        """Text rows that are fused: the prompts' own, or a control in their place.

        Parameters
        ----------
        texts : (p, d) embeddings of the prompts.
        seed : of a control's draw; None for the method's.
        """
        random_state = self.seed if seed is None else seed
        return self.text(**accepted(self.text, {"texts": texts, "random_state": random_state}))
