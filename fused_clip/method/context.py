"""Learnt text: context vectors before the names of targets, trained through the text tower."""

import logging
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fused_clip.backbone.base import Backbone, FreeContext, LearnableTexts
from fused_clip.method.prompt import Prompts
from fused_clip.method.text import ensemble
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)

_SCALE = 100  # of cosines, CLIP's at the end of its training
_BATCH = 32
_WARMUP_RATE = 1e-5
_MOMENTUM, _WEIGHT_DECAY = 0.9, 5e-4  # defaults of the authors' trainer
_PLACEHOLDER = "x"  # one token in every tokenizer here


@dataclass(frozen=True, kw_only=True)
class CoOp:
    """Context vectors shared by all targets, learnt on labelled images (Zhou et al. 2022, arXiv:2109.01134).

    A text is the context, then the name of the target, its underscores written as spaces. The loss is the
    cross-entropy of 100 times the cosines between the texts and the images, whose embeddings stay as they
    are. SGD with momentum 0.9 and weight decay 5e-4 follows a cosine, after a first epoch at 1e-5. Towers
    that can learn are CLIP's own in `OpenClipBackbone`, and that of `OpenVocabularyBackbone`. Probabilities
    that are calibrated on the same labels are too sure.

    An epoch has batches of 32 images, all of about the same size. Where that would exceed `max_steps`,
    batches are larger: each step passes all texts through the tower, and costs the same for any batch. For 10
    texts that is 4 ms of a core with ``backbone=compact`` and 110 ms with ``open``; for 100, 24 and 840 ms.

    Parameters
    ----------
    n_context : context vectors, at least 1; `initial` words set their number instead.
    epochs : passes over the labelled images, 0 or more; ``auto`` is 200 for 8 labels a target or more, 100
        for 2 to 7, 50 for 1.
    learning_rate : of the second epoch, above 0.
    initial : ``random`` draws vectors from N(0, 0.02); other words give their tokens' vectors.
    max_steps : steps at most, at least 1; more epochs than steps are cut.

    Raises
    ------
    InputError
        If a value is outside its range.
    """

    n_context: int = 16
    epochs: int | Literal["auto"] = "auto"
    learning_rate: float = 0.002
    initial: str = "random"
    max_steps: int = 1000

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("n_context", "max_steps"):
            _at_least(name, getattr(self, name), 1)
        if self.epochs != "auto":
            _at_least("epochs", self.epochs, 0)
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < math.inf:
            raise InputError("text.learning_rate", "must be a number above 0", rate)
        if not isinstance(self.initial, str) or not self.initial.strip():
            raise InputError(
                "text.initial", "must be 'random' or words, such as 'a photo of a'", self.initial
            )

    @property
    def context(self) -> str:
        """Words whose vectors are learnt."""
        return " ".join([_PLACEHOLDER] * self.n_context) if self.initial == "random" else self.initial

    def check(self, prompts: Prompts, backbone: Backbone) -> None:
        """Refuse a run in which no context can be learnt, before anything is embedded.

        Parameters
        ----------
        prompts : one truthful prompt a target, two or more.
        backbone : with a text tower that has gradients.

        Raises
        ------
        InputError
            On other prompts, a backbone without such a tower, or names that are too long with their context.
        """
        self._tower(prompts, backbone)

    def _tower(self, prompts: Prompts, backbone: Backbone) -> LearnableTexts:
        if len(prompts.target_names) < 2:
            raise InputError("text", "needs two targets or more to learn from", len(prompts.target_names))
        if not prompts.distinguishes_targets:
            raise InputError("text", "learns one text a target, which needs one truthful prompt a target")
        if not isinstance(backbone, LearnableTexts):
            rule = "learns through a text tower, and this backbone has none with gradients"
            raise InputError("text", rule, backbone.name, hint="Use backbone=compact or backbone=open")
        backbone.check_context(self.context, _names(prompts))
        return backbone

    def __call__(
        self, prompts: Prompts, images: FloatArray, targets: IntArray, backbone: Backbone, random_state: int
    ) -> FloatArray:
        """Learn the text rows: (p, d) float32, at the scale of the tower's own.

        Parameters
        ----------
        prompts : one truthful prompt a target.
        images : (n, d) image embeddings.
        targets : (n,) target of each, in [0, K); -1 where it is not known. A target without a label is warned
            of: it gets its name with the context of the others.
        backbone : a `LearnableTexts`.
        random_state : seed of the first vectors and of the batches.

        Raises
        ------
        InputError
            If no image has a label, or `check` refuses the run.
        """
        tower = self._tower(prompts, backbone)
        known = targets >= 0
        if not known.any():
            raise InputError("text", "learns from labelled images, and there are none")
        missing = np.setdiff1d(np.arange(len(prompts.target_names)), targets)
        if len(missing):
            names = ", ".join(prompts.target_names[target] for target in missing)
            log.warning("The context is learnt without an image of: %s.", names)
        free = tower.free_context(self.context, _names(prompts))
        rows = self._learn(free, images[known], targets[known], np.random.default_rng(random_state))
        learnt = np.empty_like(rows)
        learnt[prompts.prompt_of_target] = rows
        return learnt

    def _learn(
        self, free: FreeContext, images: FloatArray, targets: IntArray, rng: np.random.Generator
    ) -> FloatArray:
        """Train the context on labelled images and return the row of each target."""
        import torch
        from torch.nn.functional import cross_entropy, normalize
        from tqdm import tqdm

        device = free.vectors.device
        context = free.vectors.clone()
        if self.initial == "random":
            context[:] = torch.from_numpy(rng.normal(0, 0.02, context.shape))
        context.requires_grad_()
        unit = normalize(torch.from_numpy(np.asarray(images, np.float32))).to(device)
        right = torch.from_numpy(targets).to(device)
        optimizer = torch.optim.SGD([context], momentum=_MOMENTUM, weight_decay=_WEIGHT_DECAY)
        epochs = min(self._epochs(targets), self.max_steps)
        batches = min(math.ceil(len(targets) / _BATCH), self.max_steps // max(epochs, 1))
        for epoch in tqdm(range(epochs), desc="learn the context", unit="epoch", disable=None):
            optimizer.param_groups[0]["lr"] = self._rate(epoch, epochs)
            for rows in np.array_split(rng.permutation(len(targets)), batches):
                texts = normalize(free.encode(context))
                loss = cross_entropy(_SCALE * unit[rows] @ texts.T, right[rows])
                (context.grad,) = torch.autograd.grad(loss, context)
                optimizer.step()
        with torch.no_grad():
            learnt: FloatArray = free.encode(context).float().cpu().numpy()
        return learnt

    def _epochs(self, targets: IntArray) -> int:
        if self.epochs != "auto":
            return self.epochs
        labels = len(targets) // len(np.unique(targets))
        return 200 if labels >= 8 else 100 if labels >= 2 else 50

    def _rate(self, epoch: int, epochs: int) -> float:
        """Learning rate of an epoch: the cosine starts at the second one."""
        if epoch == 0:
            return _WARMUP_RATE
        return self.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2


@dataclass(frozen=True, kw_only=True)
class UPL(CoOp):
    """CoOp on pseudo-labels: no label is used (Huang, Chu and Wei 2022, arXiv:2204.03649).

    The pseudo-labels are the most confident zero-shot predictions, `per_target` images of each predicted
    target. Texts learnt from several seeds are averaged after L2 normalisation.

    Parameters
    ----------
    n_context, learning_rate, initial, max_steps : as for `CoOp`; `max_steps` of each repetition.
    epochs : passes over the pseudo-labelled images.
    per_target : images of each predicted target, at least 1; all if there are fewer.
    repetitions : seeds, at least 1; the paper has 16.
    """

    epochs: int | Literal["auto"] = 50
    per_target: int = 16
    repetitions: int = 4

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        for name in ("per_target", "repetitions"):
            _at_least(name, getattr(self, name), 1)

    def __call__(  # type: ignore[override]  # parts are called by the names of what they need
        self, texts: FloatArray, prompts: Prompts, images: FloatArray, backbone: Backbone, random_state: int
    ) -> FloatArray:
        """Learn the text rows: (p, d) float32.

        Parameters
        ----------
        texts : (p, d) embeddings of the prompts, for the pseudo-labels.
        prompts : one truthful prompt a target.
        images : (n, d) image embeddings.
        backbone : a `LearnableTexts`.
        random_state : seed of the first repetition; the next take the numbers after it.

        Raises
        ------
        InputError
            If `check` refuses the run.
        """
        targets = pseudo_labels(images, texts[prompts.prompt_of_target], self.per_target)
        seeds = range(random_state, random_state + self.repetitions)
        learnt = [super(UPL, self).__call__(prompts, images, targets, backbone, seed) for seed in seeds]
        return np.stack([ensemble(np.stack(rows)) for rows in zip(*learnt, strict=True)])


def pseudo_labels(images: FloatArray, texts: FloatArray, per_target: int) -> IntArray:
    """Give the most confident images of each predicted target that target: (n,), -1 for all others.

    Confidence is the softmax of 100 times the cosines; ties go to the first image.

    Parameters
    ----------
    images : (n, d) image embeddings.
    texts : (K, d) text row of each target.
    per_target : images of a target, at most.
    """
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts)]
    logits = _SCALE * (units[0] @ units[1].T).astype(np.float64)
    predicted = logits.argmax(axis=1)
    confidence = -np.logaddexp.reduce(logits - logits.max(axis=1, keepdims=True), axis=1)
    order = np.argsort(-confidence, kind="stable")
    labels = np.full(len(images), -1)
    for target in range(len(texts)):
        labels[order[predicted[order] == target][:per_target]] = target
    return labels


def _names(prompts: Prompts) -> list[str]:
    return [name.replace("_", " ") for name in prompts.target_names]


def _at_least(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"text.{name}", f"must be a whole number of at least {least}", value)
