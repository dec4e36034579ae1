"""The parts of a method that follow the embedding, and how prompts are paired with images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from fused_clip.backbone.base import Backbone
from fused_clip.method.budget import LabelBudget
from fused_clip.method.classifier import Classifier
from fused_clip.method.fusion import Fusion
from fused_clip.method.pairing import Pairing
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
    text : called with those fields of `TextInputs`, and random_state, that its signature names.
    fusion : fuses image rows with text rows.
    clusterer : scikit-learn clusterer, not fitted.
    classifier : classifies new images; not fitted.
    clusters_per_target : clusters for each target, at least 1; "auto" chooses them by the rows.
    vote : how clusters get their targets; see `PromptFusedClassifier`.
    seed : drives every random choice.
    memory : remembers partitions and references; None computes them anew.
    text_uses_labels : whether the text part is given labels.
    text_is_control : whether the text part stands in for the prompts in the fusion alone: images are then
        paired by the prompts' own rows.
    labels : which training labels may be used.
    """

    pairing: Callable[..., IntArray | Pairing]
    pairing_uses_labels: bool
    text: Callable[..., FloatArray]
    fusion: Fusion
    clusterer: Any
    classifier: Classifier
    clusters_per_target: int | Literal["auto"] = 2
    vote: Vote = "label"
    seed: int = 0
    memory: Memory | None = None
    text_uses_labels: bool = False
    text_is_control: bool = True
    labels: LabelBudget = field(default_factory=LabelBudget)

    def uses_labels(self, prompts: Prompts) -> bool:
        """Whether any part sees training labels.

        Parameters
        ----------
        prompts : of the run; one prompt, or none, needs no pairing.
        """
        paired = len(prompts.texts) > 1 and self.pairing_uses_labels
        written = bool(prompts.texts) and self.text_uses_labels
        return self.vote != "prompt" or paired or written or self.classifier.uses_labels

    def pair(
        self,
        images: FloatArray,
        texts: FloatArray,
        targets: IntArray,
        prompts: Prompts,
        partition: Callable[[IntArray], IntArray] | None = None,
    ) -> Pairing | None:
        """Pair each training image with a prompt.

        Parameters
        ----------
        images : (n, d) embeddings of the training images.
        texts : (p, d) embeddings of the prompts.
        targets : (n,) target of each image, -1 where it is not known; given on to a pairing that uses labels.
        prompts : the distinct prompts.
        partition : (n,) prompt of each image -> (n,) cluster of each, by the method's fusion and clusterer.

        Returns
        -------
        The prompt of each training image; None without text.
        """
        if prompts.prompt_of_target is None:
            return None
        if len(texts) == 1:
            return Pairing(np.zeros(len(images), dtype=np.int64))
        available = {
            "images": images,
            "texts": texts,
            "prompt_of_target": prompts.prompt_of_target,
            "partition": partition,
            "random_state": self.seed,
        }
        if self.pairing_uses_labels:
            available["targets"] = targets
        paired = self.pairing(**accepted(self.pairing, available))
        return paired if isinstance(paired, Pairing) else Pairing(paired)

    def text_rows(self, inputs: "TextInputs", seed: int | None = None) -> FloatArray:
        """Text rows that are fused: the prompts' own, a control in their place, weighted or learnt ones.

        Parameters
        ----------
        inputs : what a text part may use.
        seed : of a control's draw; None for the method's.
        """
        available = {name: value for name, value in vars(inputs).items() if name != "targets"}
        if self.text_uses_labels:
            available["targets"] = inputs.targets
        available["random_state"] = self.seed if seed is None else seed
        return self.text(**accepted(self.text, available))


@dataclass(frozen=True)
class TextInputs:
    """What a text part may use.

    Parameters
    ----------
    texts : (p, d) embeddings of the prompts, the texts of an ensemble averaged.
    members : p arrays (m, d), the embeddings of the texts of each prompt.
    prompts : the texts, and which prompt stands for which target.
    images : (n, d) embeddings of the training images.
    targets : (n,) target of each, -1 where it is not known; only for a part that uses labels.
    backbone : embeds texts; a text part that learns needs its text tower.
    """

    texts: FloatArray
    members: Sequence[FloatArray]
    prompts: Prompts
    images: FloatArray
    targets: IntArray
    backbone: Backbone
