"""The whole method as one scikit-learn estimator on embeddings: pair, fuse, cluster, vote, classify."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from numbers import Integral
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from fused_clip.method import votes
from fused_clip.method.classifier import (
    Assignment,
    Classifier,
    ConstrainedCentroid,
    TargetScores,
    Training,
    calibration_sample,
    cluster_means,
    out_of_fold_scores,
)
from fused_clip.method.clusterer import SpectralClustering
from fused_clip.method.clusterer.number import choose, number_scores, sample_rows
from fused_clip.method.clusterer.wrapped import configured, has_number, innermost, on_rows
from fused_clip.method.fusion import Fusion, mean
from fused_clip.method.inputs import (
    check_classes,
    check_labelled,
    check_pairing,
    check_texts,
    targets_of_prompts,
)
from fused_clip.method.parts import Memory, Method, Vote
from fused_clip.method.prompt import Prompts
from fused_clip.metrics.calibration import fit_temperature, softmax
from fused_clip.metrics.curve import Curve
from fused_clip.support.arrays import Array, DoubleArray, IntArray, Rows
from fused_clip.support.errors import InputError, part_errors

_FLOATS = [np.float64, np.float32]


def _is_calibrated(model: "PromptFusedClassifier") -> bool:
    return model.temperature_ is not None if hasattr(model, "temperature_") else model.calibrate


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
    fusion : Fusion or None
        Fuses image rows with text rows, and owns their normalisation; None is the mean.
    clusterer : scikit-learn clusterer or None
        Cloned; its `n_clusters` (or `n_components`) is set to ``clusters_per_target * K`` and its
        `random_state` to `random_state` where it has them; likewise its `images`, `texts`, `prompt_index` and
        `votes`, the target that each row votes for. A wrapper's `base` gets them too. None:
        `SpectralClustering`, on as many neighbours as a small set allows.
    clusters_per_target : int or "auto"
        At least 1. "auto" chooses 1 to 5 by the fused rows: by the eigengap for `SpectralClustering`, by the
        agreement of the partitions of two halves for other clusterers.
    vote : {"label", "prompt", "hungarian"}
        How a cluster gets its target: the most frequent target of its rows; the target of the prompt most
        frequent in it, for which `fit` needs no `y` if it is given `prompt_index`; or the one-to-one matching
        of clusters to targets with most rows in common (Kuhn 1955), which leaves spare clusters out. With
        "label", a cluster without a labelled row gets the target of the nearest cluster that has one.
    classifier : Classifier or None
        Scores new rows for every target; None is `ConstrainedCentroid`.
    calibrate : bool
        Whether `fit` finds the temperature that `predict_proba` needs: only where it is given `y`.
    memory : object with the `joblib.Memory` interface, or None
        Remembers partitions, so that one is not computed twice for the same rows and clusterer.
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : (K,) sorted targets.
    clusters_per_target_ : number that was given or chosen.
    curves_ : how it was chosen; empty if it was given.
    labels_ : (n,) cluster of each training row; -1 is noise, which takes no part in vote or centroids.
    cluster_centers_ : (k, d) mean of the fused rows of each cluster.
    cluster_targets_ : (k,) target of each cluster.
    missing_targets_ : targets that no cluster carries.
    fused_ : (n, w) training rows, fused as paired.
    prompt_index_ : (n,) prompt that each training row was paired with, or None without text.
    text_ : (p, d) text rows, and `prompts_`, the (K,) prompt of each target; None without text.
    fusion_ : the fusion in use.
    classifier_ : fitted classifier; its targets are positions in `classes_`.
    temperature_ : of ``softmax(scores / temperature_)``, fitted out of fold, on 100,000 rows where there are
        more; None if not calibrated.
    """

    def __init__(
        self,
        text_embeddings: ArrayLike | None = None,
        prompt_of_target: ArrayLike | Mapping[Any, int] | None = None,
        *,
        fusion: Fusion | None = None,
        clusterer: Any = None,
        clusters_per_target: int | Literal["auto"] = 2,
        vote: Vote = "label",
        classifier: Classifier | None = None,
        calibrate: bool = True,
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
        self.calibrate = calibrate
        self.memory = memory
        self.random_state = random_state

    @classmethod
    def of(cls, method: Method, prompts: Prompts, texts: Rows) -> Self:
        """Put the parts of a method together, not fitted; targets are positions in ``prompts.target_names``.

        Parameters
        ----------
        method : the parts.
        prompts : which prompt stands for which target.
        texts : (p, d) rows that are fused; not used without text.
        """
        stands_for = prompts.prompt_of_target
        index = np.zeros(len(prompts.target_names), int) if stands_for is None else stands_for
        return cls(
            None if stands_for is None else texts,
            dict(enumerate(index.tolist())),
            fusion=method.fusion,
            clusterer=method.clusterer,
            clusters_per_target=method.clusters_per_target,
            vote=method.vote,
            classifier=method.classifier,
            memory=method.memory,
            random_state=method.seed,
        )

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        prompt_index: ArrayLike | None = None,
        labelled: ArrayLike | None = None,
    ) -> Self:
        """Pair, fuse, cluster and vote.

        Parameters
        ----------
        X : (n, d) image embeddings.
        y : (n,) targets; may be None with ``vote="prompt"`` and `prompt_index`.
        prompt_index : (n,) prompt of each row; None pairs each row with its true target's prompt.
        labelled : (n,) whether the target of each row may be used; None for all. Rows without one are
            clustered like the others, and need a `prompt_index`.

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
        if self.vote not in get_args(Vote):
            raise ValueError(f"vote must be one of {', '.join(get_args(Vote))}, got {self.vote!r}")
        if self.clusters_per_target != "auto" and self.clusters_per_target < 1:
            raise ValueError(
                f"clusters_per_target must be 'auto' or at least 1, got {self.clusters_per_target!r}"
            )
        texts, stands_for = self.text_embeddings, self.prompt_of_target
        self.classes_, targets = check_classes(y, self.vote, texts, stands_for, check_labelled(labelled, y))
        self.text_, self.prompts_ = check_texts(texts, stands_for, self.classes_, self.vote, rows.shape[1])
        self.prompt_index_ = check_pairing(prompt_index, targets, self.prompts_, self.text_, len(rows))
        self.fusion_ = self.fusion or mean()
        self.fused_ = self.fuse(rows, self.prompt_index_)
        self.labels_ = self._cluster(self.fused_, rows, targets)
        self._vote(targets)
        training = self._training(rows)
        self.cluster_centers_ = training.centers
        classifier = clone(self.classifier or ConstrainedCentroid())
        with part_errors("classifier", classifier):
            self.classifier_: Classifier = classifier.fit(self._given(training, targets))
        if not hasattr(self.classifier_, "targets_"):
            rule = "fit must return self and set targets_, the targets that it can predict, ascending"
            raise InputError("classifier", rule, type(classifier).__name__)
        self.temperature_ = None
        if self.calibrate and targets is not None:
            some = calibration_sample(training, targets)
            targets, given = targets[some], self._given(training, targets).at(some)
            scores = out_of_fold_scores(self.classifier_, given, targets)
            known = targets >= 0
            self.temperature_ = fit_temperature(scores[known], targets[known]) if known.any() else None
        return self

    def with_classifier(
        self,
        classifier: Classifier,
        X: ArrayLike,
        y: IntArray | None = None,
        leaked: Mapping[str, tuple[Rows, IntArray]] = MappingProxyType({}),
    ) -> Self:
        """Give the same fitted partition with another classifier, not calibrated.

        Parameters
        ----------
        classifier : not fitted.
        X : (n, d) training rows.
        y : (n,) their targets as positions in `classes_`, -1 where it is not known; needed by a classifier
            that uses labels.
        leaked : as in `Training`.
        """
        check_is_fitted(self)
        other = copy(self)
        other.set_params(classifier=classifier, calibrate=False)
        training = replace(other._training(self._check_rows(X, reset=False)), leaked=leaked)
        other.classifier_ = clone(classifier).fit(other._given(training, y))
        other.temperature_ = None
        return other

    def target_scores(self, X: ArrayLike) -> TargetScores:
        """Score each row for every target; `assign`, `predict` and `predict_proba` follow from it.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        check_is_fitted(self)
        return self.classifier_.target_scores(self._check_rows(X, reset=False))

    def assign(self, X: ArrayLike) -> Assignment:
        """Find each row's target, prompt and cluster; `targets` are positions in `classes_`.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        return self.target_scores(X).assign(self.prompts_)

    def predict(self, X: ArrayLike) -> Array:
        """Predict the target of each row: (m,) values of `classes_`.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        best = self.target_scores(X).values.argmax(axis=1)
        predicted: Array = self.classes_[best]
        return predicted

    @available_if(_is_calibrated)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> DoubleArray:
        """Probability of each target: (m, K), rows sum to 1; there only for a model fitted with `y`.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        return softmax(self.target_scores(X).values / float(self.temperature_ or 1))

    def transform(self, X: ArrayLike) -> Rows:
        """Fuse each row with its winning prompt: (m, w).

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        return self.fuse(X, None if self.text_ is None else self.assign(X).prompts)

    def fuse(self, X: ArrayLike, prompts: IntArray | None) -> Rows:
        """Fuse each row with a prompt: (m, w).

        Parameters
        ----------
        X : (m, d) image embeddings.
        prompts : (m,) prompt of each row; None for images alone.
        """
        return self.fusion_.fuse_each(self._check_rows(X, reset=False), self.text_, prompts)

    def _check_rows(self, X: ArrayLike, *, reset: bool) -> Rows:
        rows: Rows = validate_data(self, X, reset=reset, dtype=_FLOATS)
        return rows

    def partition(self, X: ArrayLike, prompt_index: IntArray) -> IntArray:
        """Cluster rows fused with prompts, without a vote: (n,) cluster of each row, -1 for noise.

        Parameters
        ----------
        X : (n, d) image embeddings.
        prompt_index : (n,) prompt of each row.
        """
        trial = copy(self)
        rows = trial._check_rows(X, reset=True)
        trial.classes_, _ = check_classes(None, "prompt", self.text_embeddings, self.prompt_of_target)
        texts = check_texts(
            self.text_embeddings, self.prompt_of_target, trial.classes_, "prompt", rows.shape[1]
        )
        trial.text_, trial.prompts_ = texts
        trial.prompt_index_, trial.fusion_ = prompt_index, self.fusion or mean()
        return trial._cluster(trial.fuse(rows, prompt_index), rows, None)

    def _cluster(self, fused: Rows, images: Rows, targets: IntArray | None) -> IntArray:
        default = SpectralClustering(n_neighbors=min(10, len(fused)))
        clusterer = configured(
            default if self.clusterer is None else self.clusterer,
            {
                "random_state": self.random_state,
                "images": images,
                "texts": self.text_,
                "prompt_index": self.prompt_index_,
            },
        )
        self.clusters_per_target_ = self._number(clusterer, fused)
        n_clusters = self.clusters_per_target_ * len(self.classes_)
        if len(fused) < n_clusters:
            rule = f"clusters_per_target x targets = {n_clusters} clusters need at least as many rows"
            raise ValueError(f"{rule}, got n_samples = {len(fused)}")
        counts = {"n_clusters": n_clusters, "n_components": n_clusters}
        clusterer = configured(clusterer, {**counts, "votes": self._votes(targets)})
        run = _partition if self.memory is None else self.memory.cache(_partition)
        labels = np.asarray(run(clusterer, fused))
        found, index = np.unique(labels, return_inverse=True)
        return index - int((found < 0).sum())

    def _number(self, clusterer: Any, fused: Rows) -> int:
        """Clusters for each target, chosen by the rows alone where `clusters_per_target` is "auto"."""
        self.curves_: tuple[Curve, ...] = ()
        if self.clusters_per_target != "auto":
            return self.clusters_per_target
        if not has_number(clusterer):
            raise ValueError("clusters_per_target='auto' needs a clusterer with n_clusters or n_components")
        random = check_random_state(self.random_state)
        rows = sample_rows(len(fused), len(self.classes_), random)
        own = on_rows(innermost(clusterer), rows, {})
        run = number_scores if self.memory is None else self.memory.cache(number_scores)
        scores = run(own, fused[rows], len(self.classes_), int(random.randint(2**31)))
        number, curve = choose(scores, eigengap=hasattr(own, "laplacian_eigenvalues"))
        self.curves_ = (curve,)
        return number

    def _votes(self, targets: IntArray | None) -> IntArray | None:
        """(n,) target that each row votes for, -1 for none; None where nothing is known."""
        if self.vote == "prompt":
            index = np.asarray(self.prompt_index_)
            owner = targets_of_prompts(np.asarray(self.prompts_))
            return np.asarray(owner[index])
        return targets

    def _vote(self, targets: IntArray | None) -> None:
        if self.labels_.max(initial=-1) < 0:
            size = innermost(self.clusterer).get_params().get("min_cluster_size")
            rule = "must leave a cluster, and every row is noise"
            if size is None:
                raise InputError("clusterer", rule)
            raise InputError("clusterer.min_cluster_size", rule, size)
        cast = np.asarray(self._votes(targets))
        if self.vote == "hungarian":
            self.labels_, self._owners = votes.by_matching(cast, self.labels_, len(self.classes_))
        else:
            owners = votes.by_majority(cast, self.labels_, len(self.classes_))
            if (owners < 0).any():
                means = cluster_means(self.fused_, self.labels_, len(owners))
                owners = votes.fill_from_nearest(owners, means)
            self._owners = owners
        self.cluster_targets_ = self.classes_[self._owners]
        self.missing_targets_ = np.setdiff1d(self.classes_, self.cluster_targets_)

    def _training(self, rows: Rows) -> Training:
        state = self.random_state
        seed = int(state) if isinstance(state, Integral) else check_random_state(state).randint(2**31)
        return Training(
            rows,
            len(self.classes_),
            self.fused_,
            self.labels_,
            self._owners,
            self.text_,
            self.prompts_,
            fusion=self.fusion_,
            random_state=seed,
        )

    def _given(self, training: Training, targets: IntArray | None) -> Training:
        """What the classifier is given: labels only if it declares that it uses them."""
        kind = type(self.classifier or ConstrainedCentroid())
        if kind.uses_labels and targets is None:
            raise ValueError(f"{kind.__name__} requires y to be passed, but the target y is None")
        return replace(training, targets=targets) if kind.uses_labels else training


def _partition(clusterer: Any, rows: Rows) -> IntArray:
    with part_errors("clusterer", clusterer):
        labels: IntArray = clusterer.fit_predict(rows)
    return labels
