"""How embeddings become a classifier, and which combinations of parts make no sense."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fused_clip.dataset.base import ImageDataset
from fused_clip.estimator import Memory, PromptFusedClassifier
from fused_clip.method.fusion import Fusion
from fused_clip.method.labels import refuse_parts_that_need_labels
from fused_clip.method.prompt import Prompts
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.signatures import accepted


@dataclass(frozen=True)
class Method:
    """The parts that follow the embedding.

    Parameters
    ----------
    pairing : called with those of images, texts, prompt_of_target, random_state and, if
        `pairing_uses_labels`, targets, that its signature names.
    text : called with those of texts and random_state that its signature names.
    clusterer : scikit-learn clusterer, not fitted.
    classifier : as `ConstrainedCentroid`, not fitted.
    vote : whether clusters are named by their rows' labels or prompts.
    draws : rotations of the text in the audit; 0 leaves the audit out.
    memory : remembers partitions; see `PromptFusedClassifier`.
    """

    pairing: Callable[..., IntArray]
    pairing_uses_labels: bool
    text: Callable[..., FloatArray]
    fusion: Fusion
    clusterer: Any
    classifier: Any
    clusters_per_target: int = 2
    vote: Literal["label", "prompt"] = "label"
    normalize_inputs: bool = False
    normalize_output: bool = False
    draws: int = 1
    seed: int = 0
    memory: Memory | None = None

    def uses_labels(self, prompts: Prompts) -> bool:
        """Whether any part sees training labels."""
        return self.vote == "label" or (len(prompts.texts) > 1 and self.pairing_uses_labels)

    def pair(
        self, images: FloatArray, texts: FloatArray, targets: IntArray, prompts: Prompts
    ) -> IntArray | None:
        """(n,) prompt of each training image, or None without text; one prompt needs no pairing."""
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

    def estimator(self, texts: FloatArray, prompts: Prompts) -> PromptFusedClassifier:
        """Put the parts together, not fitted; targets are positions in ``prompts.target_names``."""
        stands_for = prompts.prompt_of_target
        count = len(prompts.target_names)
        rows = None
        if stands_for is None:
            stands_for = np.zeros(count, dtype=np.int64)
        else:
            rows = self.text(**accepted(self.text, {"texts": texts, "random_state": self.seed}))
        return PromptFusedClassifier(
            text_embeddings=rows,
            prompt_of_target=dict(enumerate(stands_for.tolist())),
            fusion=self.fusion,
            clusterer=self.clusterer,
            clusters_per_target=self.clusters_per_target,
            vote=self.vote,
            classifier=self.classifier,
            normalize_inputs=self.normalize_inputs,
            normalize_output=self.normalize_output,
            memory=self.memory,
            random_state=self.seed,
        )

    def check(self, dataset: ImageDataset, prompts: Prompts) -> None:
        """Refuse what could not work, before anything is embedded.

        Raises
        ------
        InputError
            On a pairing or vote that the prompts do not allow, or that needs labels where there are none;
            on fewer training images than clusters or neighbours.
        """
        if not dataset.labelled:
            refuse_parts_that_need_labels(self.vote, pairing_uses_labels=self.pairing_uses_labels)
        if len(prompts.texts) > 1 and not self.pairing_uses_labels and not prompts.truthful:
            rule = "a pairing by what the prompts say needs prompts that say the truth, so not prompt=swapped"
            raise InputError("pairing", rule)
        if self.vote == "prompt" and not prompts.distinguishes_targets:
            raise InputError("vote", "'prompt' needs a strategy with one truthful prompt a target")
        if self.vote == "prompt" and self.pairing_uses_labels:
            raise InputError("vote", "'prompt' needs a pairing without labels, such as pairing=zero_shot")
        self._check_sizes(len(dataset.train), len(prompts.target_names))

    def _check_sizes(self, n_train: int, n_targets: int) -> None:
        n_clusters = self.clusters_per_target * n_targets
        if n_train < n_clusters:
            rule = f"makes {n_clusters} clusters, which need as many training images; there are {n_train}"
            raise InputError("clusters_per_target", rule, self.clusters_per_target)
        for name in ("n_neighbors", "min_cluster_size"):
            wanted = self.clusterer.get_params().get(name)
            if isinstance(wanted, int) and wanted > n_train:
                raise InputError(
                    f"clusterer.{name}", f"must be at most the {n_train} training images", wanted
                )


@dataclass
class Stages:
    """Seconds that each stage of a run took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage; several spans of one stage add up."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
