"""What the transductive classifiers share: a batch of unit rows, its neighbour graph, its assignments."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple, Self

import numpy as np
from scipy.sparse import csr_array
from scipy.special import log_softmax

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training
from fused_clip.method.classifier.ranges import check_count, check_number
from fused_clip.method.clusterer.neighbors import nearest_rows, with_themselves
from fused_clip.method.fusion import unit_rows
from fused_clip.support.arrays import DoubleArray, Rows

LEAST_VARIANCE = 1e-9  # of unit rows: equal ones have none


class BatchClassifier(Classifier):
    """Base of the classifiers of prompts and a whole batch of images; `fit` keeps the prompts.

    Attributes
    ----------
    text_of_target_ : (K, d) unit text row of the prompt that stands for each target.
    """

    uses_clusters: ClassVar[bool] = False
    uses_text: ClassVar[bool] = True
    transductive: ClassVar[bool] = True

    def fit(self, training: Training) -> Self:
        """Keep the prompts; no training image is used.

        Raises
        ------
        ValueError
            Without text.
        """
        texts = np.ascontiguousarray(training.text_of_target, dtype=np.float64)
        return self.restore({"text_of_target": texts}, training.n_targets, training.fusion)

    def check_arrays(self) -> None:
        """Check that every target has a text row."""
        if len(self._floats("text_of_target")) != self.n_targets_:
            raise ValueError(f"text_of_target must have {self.n_targets_} rows")
        self.targets_ = np.arange(self.n_targets_)

    def with_target(self, text: Rows) -> Self:
        """Add a target by the direction of its text."""
        return self._with_arrays(text_of_target=np.concatenate([self.text_of_target_, unit_rows(text)]))

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by its log-probability, which depends on all images of the batch.

        Parameters
        ----------
        X : (m, d) image embeddings; m = 0 or m >= 2.

        Raises
        ------
        ValueError
            For a single image.
        """
        if len(X) == 1:
            raise ValueError(f"{type(self).__name__} needs a batch of at least 2 images, got 1")
        if not len(X):
            return TargetScores(np.empty((0, self.n_targets_)))
        return TargetScores(self._log_probabilities(unit_rows(X)))

    @abstractmethod
    def _log_probabilities(self, rows: DoubleArray) -> DoubleArray:
        """(m, K) log-probabilities of a batch of unit rows, m >= 2."""


def check_mixture(scale: float, neighbors: int, outer_steps: int, inner_steps: int) -> None:
    """Check the parameters that the mixtures share; raises `InputError`.

    Parameters
    ----------
    scale : at least 0.
    neighbors, outer_steps, inner_steps : at least 1.
    """
    check_number("scale", scale, low=0)
    check_count("neighbors", neighbors)
    check_count("outer_steps", outer_steps)
    check_count("inner_steps", inner_steps)


def neighbor_similarities(queries: DoubleArray, rows: DoubleArray, count: int) -> csr_array:
    """Cosine similarity, at least 0, of each query to its most similar other rows: (m, n), not symmetric.

    Parameters
    ----------
    queries : (m, d) unit rows.
    rows : (n, d) unit rows, of which the queries are the first m.
    count : neighbours of each query, at least 1; all other rows if there are fewer.
    """
    found = with_themselves(nearest_rows(queries, rows, min(count + 1, len(rows))))
    columns = [np.einsum("ij,ij->i", queries, rows[column]) for column in found.T]
    similar = np.maximum(np.stack(columns, axis=1), 0)
    similar[found == np.arange(len(queries))[:, None]] = 0
    ends = np.arange(0, found.size + 1, found.shape[1])
    graph = csr_array((similar.ravel(), found.ravel(), ends), shape=(len(queries), len(rows)))
    graph.eliminate_zeros()
    graph.sort_indices()
    return graph


def log_assignments(evidence: DoubleArray, graph: csr_array, start: DoubleArray, steps: int) -> DoubleArray:
    """Iterate ``z_i ~ exp(evidence_i + sum_j w_ij z_j)``; (m, K) logarithms of the last.

    The steps decouple the rows: they minimise a bound that is linear in the Laplacian term (Zanella et al.
    2024, arXiv:2406.01837, equation 6).

    Parameters
    ----------
    evidence : (m, K) log-probabilities up to a constant of each row.
    graph : (m, m) similarities w.
    start : (m, K) assignments of the first step.
    steps : at least 1.
    """
    assigned = start
    for _ in range(steps):
        log_assigned: DoubleArray = log_softmax(evidence + graph @ assigned, axis=1)
        assigned = np.exp(log_assigned)
    return log_assigned


def gaussian_scores(rows: DoubleArray, means: DoubleArray, variance: DoubleArray) -> DoubleArray:
    """Log-density of each row under each Gaussian of a shared diagonal variance, up to a constant of the row.

    Parameters
    ----------
    rows : (m, d) rows.
    means : (K, d) means.
    variance : (d,) variances, above 0.

    Returns
    -------
    (m, K)
    """
    scaled = means / variance
    scores: DoubleArray = rows @ scaled.T - 0.5 * (scaled * means).sum(axis=1)
    return scores


class Moments(NamedTuple):
    """Sums over rows, weighted by their assignments to K classes, of which means and variance are made.

    Parameters
    ----------
    sizes : (K,) sums of the weights.
    sums : (K, d) sums of the rows.
    squares : (d,) sum of the squared rows over all classes.
    """

    sizes: DoubleArray
    sums: DoubleArray
    squares: DoubleArray

    @classmethod
    def of(cls, rows: DoubleArray, assigned: DoubleArray) -> Self:
        """Sum over rows.

        Parameters
        ----------
        rows : (m, d) rows.
        assigned : (m, K) assignments, at least 0.
        """
        return cls(assigned.sum(axis=0), assigned.T @ rows, assigned.sum(axis=1) @ rows**2)

    def plus(self, other: Self, weight: float) -> Self:
        """Add the moments of other rows, each with a weight.

        Parameters
        ----------
        other : moments of the same classes.
        weight : at least 0.
        """
        return type(self)(*(mine + weight * theirs for mine, theirs in zip(self, other, strict=True)))

    def scatter(self, means: DoubleArray) -> DoubleArray:
        """Weighted squared deviations from the means, summed: (d,).

        Parameters
        ----------
        means : (K, d) means.
        """
        total: DoubleArray = self.squares - 2 * (self.sums * means).sum(axis=0) + self.sizes @ means**2
        return np.maximum(total, 0)  # cancels for rows at their mean
