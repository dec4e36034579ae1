"""From distances to probabilities: a temperature fitted out of fold, and scores of calibration."""

import numpy as np

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import ConstrainedCentroid, cluster_means
from fused_clip.method.fusion import l2_normalized
from fused_clip.support.arrays import BoolArray, DoubleArray, IntArray, Rows

_FOLDS = 5
_BINS = 15


def nearest_of_each(distances: DoubleArray, owners: IntArray, count: int) -> DoubleArray:
    """Least distance of each row to a cluster of each owner: (m, count); inf where an owner has none.

    Parameters
    ----------
    distances : (m, k) distance of each row to each cluster.
    owners : (k,) owner of each cluster, in [0, count); -1 leaves the cluster out.
    """
    order = np.argsort(owners, kind="stable")
    found, starts = np.unique(owners[order], return_index=True)
    nearest = np.full((len(distances), count), np.inf)
    if len(distances):
        least = np.minimum.reduceat(distances[:, order], starts, axis=1)
        nearest[:, found[found >= 0]] = least[:, found >= 0]
    return nearest


def out_of_fold_distances(model: PromptFusedClassifier, images: Rows, seed: int) -> DoubleArray:
    """Distance of each training row to the nearest cluster of each target, as if the row were new.

    The partition and its votes stay. Rows fall into 5 folds, in each cluster alike; a row's distances are
    to centroids of the rows in the other folds, by the inference for new images, which uses no label.

    Parameters
    ----------
    model : fitted on `images`; its classifier is a `ConstrainedCentroid`.
    images : (n, d) training rows.
    seed : draws the folds.

    Returns
    -------
    (n, K); inf where the other folds have no cluster of a target.
    """
    images = l2_normalized(images) if model.normalize_inputs else images
    folds = _folds(model.labels_, seed)
    distances = np.full((len(images), len(model.classes_)), np.inf)
    for fold in range(_FOLDS):
        held_out = folds == fold
        if held_out.any() and (model.labels_[~held_out] >= 0).any():
            classifier = _without(model, ~held_out)
            distances[held_out] = nearest_of_each(
                classifier.distances(images[held_out]), classifier.cluster_targets_, len(model.classes_)
            )
    return distances


def fit_temperature(distances: DoubleArray, targets: IntArray) -> float:
    """Find the temperature T of ``softmax(-distances / T)`` that minimises the negative log-likelihood.

    Temperature scaling is Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. Targets are
    smoothed by 1 / (n + 2), after Platt, "Probabilistic Outputs for Support Vector Machines" (1999), so
    that rows without an error do not make the model certain. Rows whose target can't be predicted, or that
    have no choice, say nothing about T and are left out.

    Parameters
    ----------
    distances : (n, K) out-of-fold distance to each target; inf where it can't be predicted.
    targets : (n,) true target.

    Returns
    -------
    A positive number; 1 if no row says anything.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    possible = np.isfinite(distances)
    own = distances[np.arange(len(targets)), targets]
    telling = np.isfinite(own) & (possible.sum(axis=1) > 1)
    if not telling.any():
        return 1.0
    excess = distances[telling] - distances[telling].min(axis=1, keepdims=True)
    scale = float(excess[possible[telling]].mean())
    if scale == 0:
        return 1.0
    excess /= scale
    expected = _expected(excess, possible[telling], targets[telling])

    def loss(log_inverse: float) -> float:
        inverse = np.exp(log_inverse)
        return float(inverse * expected + logsumexp(-inverse * excess, axis=1).mean())

    best = minimize_scalar(loss, bounds=(-12.0, 12.0), method="bounded", options={"xatol": 1e-4})
    return float(scale / np.exp(best.x))


def expected_calibration_error(probabilities: DoubleArray, targets: IntArray) -> float:
    """Mean gap of confidence and accuracy over 15 equal bins of confidence, in [0, 1].

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI
    2015; bins as in Guo et al., ICML 2017.

    Parameters
    ----------
    probabilities : (m, K) rows that sum to 1; m >= 1.
    targets : (m,) true target.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    bins = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(targets))


def brier_score(probabilities: DoubleArray, targets: IntArray) -> float:
    """Mean over rows of the squared error summed over targets, in [0, 2].

    The original definition of Brier, "Verification of Forecasts Expressed in Terms of Probability" (1950).

    Parameters
    ----------
    probabilities : (m, K) rows that sum to 1; m >= 1.
    targets : (m,) true target.
    """
    truth = np.zeros_like(probabilities)
    truth[np.arange(len(targets)), targets] = 1
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def _folds(clusters: IntArray, seed: int) -> IntArray:
    """(n,) fold of each row; every cluster is spread over the folds as evenly as can be."""
    shuffled = np.random.default_rng(seed).permutation(len(clusters))
    order = shuffled[np.argsort(clusters[shuffled], kind="stable")]
    folds = np.empty(len(clusters), dtype=np.int64)
    folds[order] = np.arange(len(clusters)) % _FOLDS
    return folds


def _without(model: PromptFusedClassifier, kept: BoolArray) -> ConstrainedCentroid:
    """The model's classifier with centroids of some of the rows; a cluster that has none of them is gone."""
    fitted = model.classifier_
    used = kept & (model.labels_ >= 0)
    present, clusters = np.unique(model.labels_[used], return_inverse=True)
    return ConstrainedCentroid().set_centers(
        cluster_means(model.fused_[used], clusters, len(present)),
        cluster_targets=fitted.cluster_targets_[present],
        text_embeddings=fitted.text_embeddings_,
        prompt_of_target=fitted.prompt_of_target_,
        fusion=fitted.fusion_,
        normalize_output=fitted.normalize_output_,
    )


def _expected(excess: DoubleArray, possible: BoolArray, targets: IntArray) -> float:
    """Mean over rows of the excess distance that is expected under the smoothed targets."""
    rows = np.arange(len(targets))
    smoothing = 1 / (len(targets) + 2)
    own = excess[rows, targets]
    others = np.where(possible, excess, 0).sum(axis=1) - own
    spread = others / (possible.sum(axis=1) - 1)
    return float(((1 - smoothing) * own + smoothing * spread).mean())
