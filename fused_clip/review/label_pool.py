"""One probability of every target from several sources of evidence, and that a label is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

from fused_clip.support.arrays import DoubleArray, IntArray
from fused_clip.support.sampling import stratified_sample

_MOST_ROWS = 20_000  # that weights are fitted on: their number is that of the sources, and one more
_LEAST, _MOST = -12.0, 0.0  # log-odds of the share of wrong labels: up to a half
_START = -3.0


@dataclass(frozen=True, eq=False)
class LabelPool:
    """A logarithmic opinion pool of sources, fitted to labels of which an unknown share is wrong.

    Source s gives image i the probability ``p_s(k | i)`` of target k. The pool is
    ``p(k | i) ~ prod_s p_s(k | i) ** w_s`` with weights w_s >= 0 (Genest and Zidek 1986,
    doi:10.1214/ss/1177013825). With a share e of labels replaced by any other target alike, label y is given
    with ``q(y | i) = (1 - e) p(y | i) + e (1 - p(y | i)) / (K - 1)``: symmetric label noise as in the forward
    correction of Patrini et al., CVPR 2017 (arXiv:1609.03683). Weights and e maximise the likelihood of the
    given labels, so that nothing is left to set. By Bayes' rule the label is wrong with probability
    ``e (1 - p(y | i)) / ((K - 1) q(y | i))``.

    A source that is no better than chance gets the weight 0, whatever it says.

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
        some = np.stack([source[rows] for source in sources])
        start = np.append(np.full(len(some), 1 / len(some)), _START)
        bounds = [*[(0.0, None)] * len(some), (_LEAST, _MOST)]
        found = minimize(_loss, start, (some, labels[rows]), jac=True, bounds=bounds, method="L-BFGS-B").x
        weights, rate = found[:-1], float(expit(found[-1]))
        pooled = log_softmax(sum(w * source for w, source in zip(weights, sources, strict=True)), axis=1)
        own = np.exp(pooled[np.arange(len(labels)), labels])
        by_mistake = rate * (1 - own) / (pooled.shape[1] - 1)
        return cls(weights, rate, pooled, by_mistake / ((1 - rate) * own + by_mistake))


def _loss(values: DoubleArray, sources: DoubleArray, labels: IntArray) -> tuple[float, DoubleArray]:
    """Mean negative log-likelihood of the labels, and its gradient."""
    weights, rate = values[:-1], float(expit(values[-1]))
    index, others = np.arange(len(labels)), sources.shape[2] - 1
    probabilities = np.exp(log_softmax(np.tensordot(weights, sources, 1), axis=1))
    own = probabilities[index, labels]
    given = (1 - rate) * own + rate * (1 - own) / others
    slope = ((1 - rate) - rate / others) * own / given
    excess = sources[:, index, labels] - np.einsum("nk,snk->sn", probabilities, sources)
    by_rate = ((1 - own) / others - own) / given
    gradient = np.append((slope * excess).mean(axis=1), by_rate.mean() * rate * (1 - rate))
    return -float(np.log(given).mean()), -gradient
