"""The whole method as one scikit-learn estimator on embeddings: pair, fuse, cluster, vote, classify."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fused_clip.method.classifier import Assignment, ConstrainedCentroid
from fused_clip.method.clusterer import SpectralClustering
from fused_clip.method.fusion import Fusion, fuse, l2_normalized, mean
from fused_clip.metrics.scores import majority_vote
from fused_clip.support.arrays import Array, IntArray, Rows

_FLOATS = [np.float64, np.float32]


class Memory(Protocol):
    """What `joblib.Memory` offers: a function that remembers its results."""

    def cache(self, func: Callable[[Any, Rows], IntArray]) -> Callable[[Any, Rows], IntArray]:
        """Return `func`, looked up before it is computed."""


class PromptFusedClassifier(ClassifierMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Cluster images fused with text prompts; classify new images by the nearest admissible cluster.

    The method of Oliveira, Espadoto, Hirata Jr. and Cesar Jr., "Improving Image Classification Tasks
    Using Fused Embeddings and Multimodal Models", VISAPP 2025 (doi:10.5220/0013365600003912), with its
    inference corrected. Without `text_embeddings` it is the image-only baseline: clusters of the images,
    labelled by majority vote.

    Parameters
    ----------
    text_embeddings : (p, d) array or None
        One row a distinct prompt.
    prompt_of_target : (K,) array, mapping or None
        The prompt (row of `text_embeddings`) that stands for each target: an array in the order of the
        sorted targets, or a mapping from target to row, whose keys are the targets, even those that `y`
        lacks. None: prompt i stands for the i-th target.
    fusion : callable or None
        ``(images, texts) -> fused``; None is the mean.
    clusterer : scikit-learn clusterer or None
        Cloned; its `n_clusters` (or `n_components`) is set to ``clusters_per_target * K`` and its
        `random_state` to `random_state` where it has them. None: `SpectralClustering`, on as many
        neighbours as a small set allows.
    clusters_per_target : int
        At least 1.
    vote : {"label", "prompt"}
        A cluster gets the most frequent target of its rows, or the target of the prompt most frequent
        in it. With "prompt", no `y` is needed if `fit` is given `prompt_index`.
    classifier : estimator or None
        How new rows are assigned to clusters; None is `ConstrainedCentroid`.
    normalize_inputs, normalize_output : bool
        L2-normalise image and text rows before fusing; fused rows after.
    memory : object with the `joblib.Memory` interface, or None
        Remembers partitions, so that one is not computed twice for the same rows and clusterer.
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : (K,) sorted targets.
    labels_ : (n,) cluster of each training row; -1 is noise, which takes no part in vote or centroids.
    cluster_centers_ : (k, d) mean of the fused rows of each cluster.
    cluster_targets_ : (k,) majority target of each cluster.
    missing_targets_ : targets that no cluster carries: they are never predicted.
    fused_ : (n, d) training rows, fused as paired.
    prompt_index_ : (n,) prompt that each training row was paired with, or None without text.
    """

    def __init__(
        self,
        text_embeddings: ArrayLike | None = None,
        prompt_of_target: ArrayLike | Mapping[Any, int] | None = None,
        *,
        fusion: Fusion | None = None,
        clusterer: Any = None,
        clusters_per_target: int = 2,
        vote: Literal["label", "prompt"] = "label",
        classifier: Any = None,
        normalize_inputs: bool = False,
        normalize_output: bool = False,
        memory: Memory | None = None,
        random_state: Any = None,
    ) -> None:
        self.text_embeddings = text_embeddings
        self.prompt_of_target = prompt_of_target
        self.fusion = fusion
        self.clusterer = clusterer
        self.clusters_per_target = clusters_per_target
        self.vote = vote
        self.classifier = classifier
        self.normalize_inputs = normalize_inputs
        self.normalize_output = normalize_output
        self.memory = memory
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, prompt_index: ArrayLike | None = None) -> Self:
        """Pair, fuse, cluster and vote.

        Parameters
        ----------
        X : (n, d) image embeddings.
        y : (n,) targets; may be None with ``vote="prompt"`` and `prompt_index`.
        prompt_index : (n,) prompt of each row; None pairs each row with its true target's prompt.

        Raises
        ------
        ValueError
            On bad shapes, values or combinations; on fewer rows than clusters; if the clusterer finds
            no cluster.
        """
        if y is None:
            rows = self._check_rows(X, reset=True)
        else:
            rows, y = validate_data(self, X, y, dtype=_FLOATS)
        targets = self._check_targets(y)
        text, prompts = self._check_text(targets)
        self.prompt_index_ = self._check_pairing(prompt_index, targets, prompts, len(rows))
        self.fused_ = self._fuse(rows, None if text is None else text[self.prompt_index_])
        self.labels_ = self._cluster(self.fused_)
        voters, owner = (
            (targets, None) if self.vote == "label" else (self.prompt_index_, _targets_of_prompts(prompts))
        )
        self._vote(voters, owner)
        self.classifier_ = clone(self.classifier or ConstrainedCentroid())
        self.classifier_.fit(
            self.fused_,
            self.labels_,
            cluster_targets=self._cluster_target_index,
            text_embeddings=text,
            prompt_of_target=prompts,
            fusion=self.fusion,
            normalize_output=self.normalize_output,
        )
        self.cluster_centers_ = self.classifier_.centers_
        return self

    def assign(self, X: ArrayLike) -> Assignment:
        """Find each row's winning prompt and cluster; `targets` are positions in `classes_`."""
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if self.normalize_inputs:
            X = l2_normalized(X)
        assignment: Assignment = self.classifier_.assign(X)
        return assignment

    def predict(self, X: ArrayLike) -> Array:
        """Predict the target of each row: (m,) values of `classes_`."""
        targets = self.assign(X).targets
        predicted: Array = self.classes_[targets]
        return predicted

    def transform(self, X: ArrayLike) -> Rows:
        """Fuse each row with its winning prompt: (m, d)."""
        prompts = self.assign(X).prompts
        X = self._check_rows(X, reset=False)
        return self._fuse(X, None if self._text is None else self._text[prompts])

    def _check_rows(self, X: ArrayLike, *, reset: bool) -> Rows:
        rows: Rows = validate_data(self, X, reset=reset, dtype=_FLOATS)
        return rows

    def _check_targets(self, y: ArrayLike | None) -> IntArray | None:
        """Learn `classes_`; return positions in them, or None without `y`."""
        if self.vote not in ("label", "prompt"):
            raise ValueError(f"vote must be 'label' or 'prompt', got {self.vote!r}")
        if self.clusters_per_target < 1:
            raise ValueError(f"clusters_per_target must be at least 1, got {self.clusters_per_target!r}")
        named = isinstance(self.prompt_of_target, Mapping)
        if y is None:
            if self.vote == "label":
                raise ValueError("vote='label' requires y to be passed, but the target y is None")
            count = 0 if self.text_embeddings is None else len(np.asarray(self.text_embeddings))
            keys = list(self.prompt_of_target) if named else range(count)  # type: ignore[arg-type]
            self.classes_ = np.array(sorted(keys))
            return None
        y = np.asarray(y)
        check_classification_targets(y)
        self.classes_ = np.unique(np.asarray(list(self.prompt_of_target))) if named else np.unique(y)  # type: ignore[arg-type]
        targets = np.searchsorted(self.classes_, y)
        unknown = self.classes_[np.minimum(targets, len(self.classes_) - 1)] != y
        if unknown.any():
            raise ValueError(f"prompt_of_target names no prompt for target {y[unknown][0]}")
        return targets

    def _check_text(self, targets: IntArray | None) -> tuple[Rows | None, IntArray | None]:
        """Return the text rows and the prompt of each target, in the order of `classes_`."""
        self._text = None
        if self.text_embeddings is None:
            if self.vote == "prompt":
                raise ValueError("vote='prompt' needs text_embeddings")
            return None, None
        text = np.asarray(self.text_embeddings)
        if text.ndim != 2 or text.shape[1] != self.n_features_in_:
            shape = f"(p, {self.n_features_in_})"
            raise ValueError(f"text_embeddings must have shape {shape}, got {text.shape}")
        if not np.isfinite(text).all():
            raise ValueError("text_embeddings contains NaN or infinity")
        self._text = l2_normalized(text) if self.normalize_inputs else text
        if self.prompt_of_target is None:
            prompts = np.arange(len(text))
        elif isinstance(self.prompt_of_target, Mapping):
            prompts = np.array([self.prompt_of_target[name] for name in self.classes_.tolist()])
        else:
            prompts = np.asarray(self.prompt_of_target)
        if prompts.shape != self.classes_.shape:
            raise ValueError(
                f"prompt_of_target must name one prompt for each of the {len(self.classes_)} targets, "
                f"got {len(prompts)}; use a mapping if y lacks some"
            )
        _check_index("prompt_of_target", prompts, len(text))
        return self._text, prompts

    def _check_pairing(
        self, prompt_index: ArrayLike | None, targets: IntArray | None, prompts: IntArray | None, n_rows: int
    ) -> IntArray | None:
        if prompts is None or self._text is None:
            if prompt_index is not None:
                raise ValueError("prompt_index needs text_embeddings")
            return None
        if prompt_index is None:
            if targets is None:
                raise ValueError("without y, prompt_index must say which prompt each row is paired with")
            return prompts[targets]
        index = np.asarray(prompt_index)
        if index.shape != (n_rows,):
            raise ValueError(f"prompt_index must have shape ({n_rows},), got {index.shape}")
        _check_index("prompt_index", index, len(self._text))
        return index

    def _fuse(self, X: Rows, text: Rows | None) -> Rows:
        return fuse(
            X,
            text,
            self.fusion or mean(),
            normalize_inputs=self.normalize_inputs,
            normalize_output=self.normalize_output,
        )

    def _cluster(self, fused: Rows) -> IntArray:
        n_clusters = self.clusters_per_target * len(self.classes_)
        if len(fused) < n_clusters:
            rule = f"clusters_per_target x targets = {n_clusters} clusters need at least as many rows"
            raise ValueError(f"{rule}, got n_samples = {len(fused)}")
        clusterer = (
            SpectralClustering(n_neighbors=min(10, len(fused)))
            if self.clusterer is None
            else clone(self.clusterer)
        )
        params = clusterer.get_params(deep=False)
        wanted = {"n_clusters": n_clusters, "n_components": n_clusters, "random_state": self.random_state}
        clusterer.set_params(**{name: value for name, value in wanted.items() if name in params})
        run = _partition if self.memory is None else self.memory.cache(_partition)
        labels = np.asarray(run(clusterer, fused))
        found, index = np.unique(labels, return_inverse=True)
        return index - int((found < 0).sum())

    def _vote(self, voters: IntArray | None, owner: IntArray | None) -> None:
        n_clusters = int(self.labels_.max(initial=-1)) + 1
        if voters is None or n_clusters == 0:
            raise ValueError("the clusterer found no cluster: every row is noise")
        n_choices = len(self.classes_) if owner is None else len(owner)
        winners = majority_vote(voters, self.labels_, n_choices, n_clusters)
        self._cluster_target_index = winners if owner is None else owner[winners]
        self.cluster_targets_ = self.classes_[self._cluster_target_index]
        self.missing_targets_ = np.setdiff1d(self.classes_, self.cluster_targets_)


def _partition(clusterer: Any, rows: Rows) -> IntArray:
    labels: IntArray = clusterer.fit_predict(rows)
    return labels


def _targets_of_prompts(prompt_of_target: IntArray | None) -> IntArray:
    """(p,) target that each prompt stands for; every prompt must stand for exactly one."""
    prompts = np.asarray(prompt_of_target)
    if not np.array_equal(np.sort(prompts), np.arange(len(prompts))):
        raise ValueError("vote='prompt' needs each prompt to stand for one target of its own")
    return np.argsort(prompts)


def _check_index(name: str, index: Array, count: int) -> None:
    if not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, got dtype {index.dtype}")
    if index.size and not (index.min() >= 0 and index.max() < count):
        received = f"{index.min()} to {index.max()}"
        raise ValueError(f"{name} must be rows of text_embeddings, in [0, {count}), got {received}")
