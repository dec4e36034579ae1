"""From scores to probabilities: a temperature, and how well calibrated they are."""

import numpy as np

from fused_clip.support.arrays import BoolArray, DoubleArray, IntArray

_BINS = 15


def fit_temperature(scores: DoubleArray, targets: IntArray) -> float:
    """Find the temperature T of ``softmax(scores / T)`` that minimises the negative log-likelihood.

    Temperature scaling is Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. Targets are
    smoothed by 1 / (n + 2), after Platt, "Probabilistic Outputs for Support Vector Machines" (1999), so
    that rows without an error do not make the model certain. Rows whose target can't be predicted, or that
    have no choice, do not depend on T and are left out.

    Parameters
    ----------
    scores : (n, K) out-of-fold score of each target; -inf where it can't be predicted.
    targets : (n,) true target, in [0, K).

    Returns
    -------
    A positive number; 1 if every row is left out.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    possible = np.isfinite(scores)
    own = scores[np.arange(len(targets)), targets]
    informative = np.isfinite(own) & (possible.sum(axis=1) > 1)
    if not informative.any():
        return 1.0
    excess = scores[informative].max(axis=1, keepdims=True) - scores[informative]
    scale = float(excess[possible[informative]].mean())
    if scale == 0:
        return 1.0
    excess /= scale
    expected = _expected(excess, possible[informative], targets[informative])

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


def softmax(scores: DoubleArray) -> DoubleArray:
    """Probabilities in proportion to ``exp(scores)``: (m, K), rows sum to 1.

    Parameters
    ----------
    scores : (m, K) scores; at least one of a row is finite.
    """
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: DoubleArray = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


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


def _expected(excess: DoubleArray, possible: BoolArray, targets: IntArray) -> float:
    """Mean over rows of the expected gap to the best score, under the smoothed targets."""
    rows = np.arange(len(targets))
    smoothing = 1 / (len(targets) + 2)
    own = excess[rows, targets]
    others = np.where(possible, excess, 0).sum(axis=1) - own
    spread = others / (possible.sum(axis=1) - 1)
    return float(((1 - smoothing) * own + smoothing * spread).mean())
