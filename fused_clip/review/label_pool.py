"""One probability of every target from several sources of evidence, and that a label is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

from fused_clip.support.arrays import DoubleArray, IntArray
from fused_clip.support.sampling import stratified_sample

_MOST_ROWS = 20_000  # that weights are fitted on: their number is that of the sources, and one more
_LEAST, _MOST = -12.0, 0.0  # log-odds of the share of wrong labels: up to a half
_START = -3.0


class _Fitted(NamedTuple):
    """Weights of the sources, (S,), and the share of wrong labels."""

    weights: DoubleArray
    rate: float


@dataclass(frozen=True, eq=False)
class LabelPool:
    """A logarithmic opinion pool of sources, fitted to labels of which an unknown share is wrong.

    Source s gives image i the probability ``p_s(k | i)`` of target k. The pool is
    ``p(k | i) ~ prod_s p_s(k | i) ** w_s`` with weights w_s >= 0 (Genest and Zidek 1986,
    doi:10.1214/ss/1177013825). With a share e of wrong labels, which are y for images of target k with
    probability r_ky, label y is given with ``q(y | i) = (1 - e) p(y | i) + e sum_k r_ky p(k | i)``: label
    noise as in the forward correction of Patrini et al., CVPR 2017 (arXiv:1609.03683). Weights and e
    maximise the likelihood of the given labels, so that nothing is left to set. By Bayes' rule a label is
    wrong with probability ``e sum_k r_ky p(k | i) / q(y | i)``.

    Mistakes are of similar targets more often than of others. So the fit is made twice: first with the same
    r_ky for all y, then with r_ky in proportion to the evidence for k of the images with label y, summed,
    and 1 / (K - 1) more. A source that is no better than chance gets no influence, whatever it says.

    Parameters
    ----------
    weights : (S,) weight of each source.
    error_rate : e, in (0, .5].
    log_probabilities : (n, K) of the pool.
    wrong : (n,) probability that each label is wrong.
    """

    weights: DoubleArray
    error_rate: float
    log_probabilities: DoubleArray
    wrong: DoubleArray

    @classmethod
    def fit(cls, sources: Sequence[DoubleArray], labels: IntArray, seed: int = 0) -> Self:
        """Fit weights and the share of wrong labels.

        Parameters
        ----------
        sources : S arrays (n, K) of log-probabilities that do not depend on the image's own label.
        labels : (n,) given labels, in [0, K), K >= 2.
        seed : draws the 20,000 rows, stratified, that are used of more.
        """
        rows = stratified_sample(labels, _MOST_ROWS, seed)
        some, given = np.stack([source[rows] for source in sources]), labels[rows]
        count = some.shape[2]
        alike = (1 - np.eye(count)) / (count - 1)
        first = _fitted(some, given, alike, np.full(len(some), 1 / len(some)))
        mistaken = _mistakes(np.exp(_pooled(first.weights, some)), given)
        weights, rate = _fitted(some, given, mistaken, first.weights)
        pooled = _pooled(weights, sources)
        probabilities = np.exp(pooled)
        own = (1 - rate) * probabilities[np.arange(len(labels)), labels]
        by_mistake = rate * (probabilities * mistaken[:, labels].T).sum(axis=1)
        return cls(weights, rate, pooled, by_mistake / (own + by_mistake))


def _pooled(weights: DoubleArray, sources: Sequence[DoubleArray] | DoubleArray) -> DoubleArray:
    total: DoubleArray = sum(weight * source for weight, source in zip(weights, sources, strict=True))
    pooled: DoubleArray = log_softmax(total, axis=1)
    return pooled


def _mistakes(probabilities: DoubleArray, labels: IntArray) -> DoubleArray:
    """(K, K) probability that a wrong label of an image of target k is y: 0 for k itself."""
    count = probabilities.shape[1]
    sums = np.full((count, count), 1 / (count - 1))
    np.add.at(sums.T, labels, probabilities)
    np.fill_diagonal(sums, 0)
    return np.asarray(sums / sums.sum(axis=1, keepdims=True))


def _fitted(sources: DoubleArray, labels: IntArray, mistaken: DoubleArray, start: DoubleArray) -> _Fitted:
    bounds = [*[(0.0, None)] * len(sources), (_LEAST, _MOST)]
    given = (sources, labels, mistaken[:, labels].T)
    found = minimize(_loss, np.append(start, _START), given, jac=True, bounds=bounds, method="L-BFGS-B").x
    return _Fitted(found[:-1], float(expit(found[-1])))


def _loss(
    values: DoubleArray, sources: DoubleArray, labels: IntArray, mistaken: DoubleArray
) -> tuple[float, DoubleArray]:
    """Mean negative log-likelihood of the labels, and its gradient.

    Parameters
    ----------
    values : (S + 1,) weights and the log-odds of the share of wrong labels.
    sources : (S, n, K) log-probabilities.
    labels : (n,) given labels.
    mistaken : (n, K) probability that a wrong label of an image of each target is the given one.
    """
    rate, index = float(expit(values[-1])), np.arange(len(labels))
    probabilities = np.exp(_pooled(values[:-1], sources))
    own = probabilities[index, labels]
    joint = rate * probabilities * mistaken
    joint[index, labels] = (1 - rate) * own
    given = joint.sum(axis=1)
    excess = joint / given[:, None] - probabilities
    by_weight = np.einsum("nk,snk->s", excess, sources) / len(labels)
    by_rate = ((probabilities * mistaken).sum(axis=1) - own) / given
    gradient = np.append(by_weight, by_rate.mean() * rate * (1 - rate))
    return -float(np.log(given).mean()), -gradient
