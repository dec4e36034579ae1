"""Tip-Adapter: logits of the prompts plus votes of cached labelled images, whose keys may be tuned."""

from collections.abc import Iterator
from itertools import islice, product
from typing import ClassVar, Self

import numpy as np
from sklearn.base import clone

from fused_clip.method.classifier.cache import KeyCache, tuned_keys
from fused_clip.method.classifier.contract import Classifier, TargetScores, Training, equal_rows
from fused_clip.method.classifier.cosine import texts_of
from fused_clip.method.classifier.ranges import check_count, check_number
from fused_clip.method.classifier.validation import HeldOut, most_accurate, validation_split
from fused_clip.method.fusion import unit_rows
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.sampling import stratified_sample

_ALPHA, _BETA = 2.0, 1.0
_ALPHAS = tuple(np.linspace(0.1, 3, 20).tolist())
_BETAS = tuple(np.linspace(0.1, 7, 20).tolist())


class TipAdapter(Classifier):
    """CLIP's logits plus votes of the labelled images, without training.

    The score of target k is ``100 x t_k + alpha * sum of exp(-beta (1 - x x_i))`` over its labelled images
    x_i, all rows of unit length: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot
    Classification", ECCV 2022 (arXiv:2207.09519). A target without a labelled image keeps its prompt's logit.
    Without text the score is the votes alone, and a target without a labelled image can't be predicted.

    Unless they are given, alpha and beta are the pair of 20 values in 0.1 ... 3 and 20 values in 0.1 ... 7
    with the best accuracy on validation rows, the smallest beta of equals, then the smallest alpha; 2 and 1
    where there are too few labels. The cache is then made of all labelled rows.

    Parameters
    ----------
    alpha : float or None
        Weight of the votes, at least 0: 0 is zero-shot. None chooses it.
    beta : float or None
        Sharpness of the votes, at least 0: at 0 every image of a class counts the same. None chooses it.
    max_cache : int
        Most labelled images in the cache: drawn at random, each class in proportion and with at
        least one. Memory and time grow with it.

    Attributes
    ----------
    keys_ : (c, d) rows of the cache.
    owners_ : (c,) their targets.
    texts_ : (K, d) unit text rows; None without text.
    settings_ : (2,) alpha and beta.
    targets_ : targets that can be predicted: all with text.
    """

    uses_labels: ClassVar[bool] = True
    uses_clusters: ClassVar[bool] = False
    chooses: ClassVar[frozenset[str]] = frozenset({"settings"})
    uses_text: ClassVar[bool] = True
    texts_: DoubleArray | None = None

    def __init__(self, alpha: float | None = None, beta: float | None = None, max_cache: int = 2048) -> None:
        for name, value in (("alpha", alpha), ("beta", beta)):
            if value is not None:
                check_number(name, value, low=0)
        check_count("max_cache", max_cache)
        self.alpha = alpha
        self.beta = beta
        self.max_cache = max_cache

    def fit(self, training: Training) -> Self:
        """Choose the settings, then make the cache.

        Parameters
        ----------
        training : images, their targets, and prompts; `Training.random_state` draws validation rows and the
            cache.

        Raises
        ------
        ValueError
            Without a labelled row.
        """
        images, targets = training.labelled
        if not len(targets):
            raise ValueError("a cache needs a labelled image")
        settings = self._settings(training)
        cache = self._fitted(self._cache(training, images, targets), training.random_state, settings)
        self.chosen_ = {name: value for name, value in settings.items() if getattr(self, name, None) is None}
        arrays = {
            "keys": np.ascontiguousarray(cache.keys),
            "owners": np.asarray(cache.owners, dtype=np.int64),
            "settings": np.array([settings["alpha"], settings["beta"]]),
        }
        if cache.texts is not None:
            arrays["texts"] = cache.texts
        return self.restore(arrays, training.n_targets, training.fusion)

    def without_text(self, training: Training) -> Self | None:
        """Be fitted with the same cache and settings, and the mean text for every target."""
        if self.texts_ is None:
            return None
        arrays = {**self.arrays(), "texts": equal_rows(self.texts_)}
        fitted: Self = clone(self).restore(arrays, self.n_targets_, self.fusion_)
        return fitted

    def check_arrays(self) -> None:
        """Check that every key has a target, and every target a text if there is any."""
        keys = self._floats("keys")
        self.targets_ = np.unique(self._index("owners", len(keys), self.n_targets_))
        if self.texts_ is not None:
            if self._floats("texts").shape != (self.n_targets_, keys.shape[1]):
                raise ValueError(f"texts must be of shape {(self.n_targets_, keys.shape[1])}")
            self.targets_ = np.arange(self.n_targets_)
        if self.settings_.shape != (2,):
            raise ValueError("settings must be 2 numbers")

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by its text logit and its votes.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        cache = KeyCache(self.keys_, self.owners_, self.n_targets_, self.texts_)
        alpha, beta = self.settings_.tolist()
        rows = unit_rows(X)
        scores = cache.text_logits(rows) + alpha * cache.votes(rows, [beta])[0]
        values = np.full(scores.shape, -np.inf)
        values[:, self.targets_] = scores[:, self.targets_]
        return TargetScores(values)

    def _cache(self, training: Training, images: Rows, targets: IntArray) -> KeyCache:
        kept = stratified_sample(targets, self.max_cache, training.random_state, least=1)
        return KeyCache(unit_rows(images[kept]), targets[kept], training.n_targets, texts_of(training))

    def _settings(self, training: Training) -> dict[str, float]:
        """Values of alpha and beta."""
        split = validation_split(training)
        if split is None:
            return self._defaults()
        return self._searched(self._cache(training, split.images, split.targets), split)

    def _defaults(self) -> dict[str, float]:
        return {
            "alpha": _ALPHA if self.alpha is None else self.alpha,
            "beta": _BETA if self.beta is None else self.beta,
        }

    def _searched(self, cache: KeyCache, split: HeldOut) -> dict[str, float]:
        """The best alpha and beta on the held-out rows; those that are given stay."""
        if self.alpha is not None and self.beta is not None:
            return self._defaults()
        alphas = _ALPHAS if self.alpha is None else (self.alpha,)
        betas = _BETAS if self.beta is None else (self.beta,)
        held_out = unit_rows(split.held_out)
        by_text, votes = cache.text_logits(held_out), cache.votes(held_out, betas)
        place, alpha = most_accurate(
            product(range(len(betas)), alphas),
            lambda pair: by_text + pair[1] * votes[pair[0]],
            split.held_out_targets,
        )
        return {"alpha": alpha, "beta": betas[place]}

    def _fitted(self, cache: KeyCache, seed: int, settings: dict[str, float]) -> KeyCache:
        """The cache that is kept: without training, as it is."""
        return cache


class TipAdapterF(TipAdapter):
    """Tip-Adapter with keys tuned by gradient descent (Tip-Adapter-F, arXiv:2207.09519).

    The keys minimise the cross-entropy of the cache's own images, by AdamW with a cosine schedule from 1e-3,
    with alpha and beta as given, or 2 and 1. Alpha and beta are then chosen as in `TipAdapter`. The number of
    epochs after which the keys are kept is the one with the best accuracy on validation rows, the smallest of
    equals; all of them where there are too few labels. The published code chooses it on the test images.

    Parameters
    ----------
    alpha : float or None
        Weight of the votes, at least 0. None chooses it.
    beta : float or None
        Sharpness of the votes, at least 0. None chooses it.
    max_cache : int
        Most labelled images in the cache, as in `TipAdapter`; the keys are trained on these images.
    epochs : int
        Passes over the cached images, at least 0: 0 is Tip-Adapter.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"settings", "epochs"})

    def __init__(
        self,
        alpha: float | None = None,
        beta: float | None = None,
        max_cache: int = 2048,
        epochs: int = 20,
    ) -> None:
        super().__init__(alpha, beta, max_cache)
        check_count("epochs", epochs, low=0)
        self.epochs = epochs

    def _settings(self, training: Training) -> dict[str, float]:
        """Values of alpha, beta and the epoch; the epoch comes first, as it makes the keys."""
        epoch = {"epoch": float(self._best_epoch(training))}
        split = validation_split(training)
        if split is None:
            return self._defaults() | epoch
        cache = self._cache(training, split.images, split.targets)
        return self._searched(self._fitted(cache, training.random_state, epoch), split) | epoch

    def _best_epoch(self, training: Training) -> int:
        split = validation_split(training, "epochs")
        if split is None:
            return self.epochs
        cache = self._cache(training, split.images, split.targets)
        held_out, used = unit_rows(split.held_out), self._defaults()
        by_text = cache.text_logits(held_out)
        best, chosen = -1.0, 0
        for epoch, keys in enumerate(self._tuned(cache, training.random_state), 1):
            votes = cache._replace(keys=keys).votes(held_out, [used["beta"]])[0]
            found = (by_text + used["alpha"] * votes).argmax(axis=1)
            accuracy = float((found == split.held_out_targets).mean())
            if accuracy > best:
                best, chosen = accuracy, epoch
        return chosen

    def _tuned(self, cache: KeyCache, seed: int) -> Iterator[DoubleArray]:
        used = self._defaults()
        return tuned_keys(cache, used["alpha"], used["beta"], self.epochs, seed)

    def _fitted(self, cache: KeyCache, seed: int, settings: dict[str, float]) -> KeyCache:
        """The cache with keys tuned for the chosen number of epochs."""
        keys = cache.keys
        for tuned in islice(self._tuned(cache, seed), int(settings["epoch"])):
            keys = tuned
        return cache._replace(keys=keys)
