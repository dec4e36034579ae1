"""The parts of a method that follow the embedding, and how prompts are paired with images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from fused_clip.backbone.base import Backbone
from fused_clip.method.budget import LabelBudget
from fused_clip.method.classifier import Classifier
from fused_clip.method.fusion import Fusion
from fused_clip.method.leak import Leak
from fused_clip.method.pairing import Pairing
from fused_clip.method.prompt import Prompts
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.errors import InputError, part_errors
from fused_clip.support.signatures import accepted, keywords

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
    text : called with those fields of `TextInputs`, templates and random_state, that its signature names.
        Templates are the members as one (p, m, d) array, text j of every prompt from the same template.
        If it has a method ``check(prompts, backbone)``, that is called before anything is embedded.
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
    leak : published leak of test labels that is on; None for none.
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
    leak: Leak | None = None

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
        with part_errors("pairing", getattr(self.pairing, "func", self.pairing)):
            paired = self.pairing(**accepted(self.pairing, available))
        return paired if isinstance(paired, Pairing) else Pairing(paired)

    def check_text(self, prompts: Prompts) -> None:
        """Refuse prompts whose texts a text part that compares templates can't align.

        Parameters
        ----------
        prompts : of the run.

        Raises
        ------
        InputError
            If the text part names ``templates`` and a prompt has more texts than another.
        """
        counts = sorted({len(texts) for texts in prompts.texts})
        if len(counts) > 1 and "templates" in keywords(self.text):
            rule = "compares templates, which needs as many texts for every prompt, in the same order"
            hint = "text=prompt and text=mean_similarity need no such order"
            raise InputError("text", rule, f"{counts[0]} to {counts[-1]} texts", hint=hint)

    def text_rows(self, inputs: "TextInputs", seed: int | None = None) -> FloatArray:
        """Text rows that are fused: the prompts' own, a control in their place, weighted or learnt ones.

        Parameters
        ----------
        inputs : what a text part may use.
        seed : of a control's draw; None for the method's.

        Raises
        ------
        InputError
            As `check_text`.
        """
        self.check_text(inputs.prompts)
        available = {name: value for name, value in vars(inputs).items() if name != "targets"}
        if self.text_uses_labels:
            available["targets"] = inputs.targets
        if "templates" in keywords(self.text):
            available["templates"] = np.stack(inputs.members)
        available["random_state"] = self.seed if seed is None else seed
        with part_errors("text", getattr(self.text, "func", self.text)):
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
