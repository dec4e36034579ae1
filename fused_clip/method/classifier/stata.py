"""StatA: a Gaussian mixture of a batch of images, anchored to the prompts."""

import numpy as np
from scipy.special import log_softmax

from fused_clip.method.classifier.batch import (
    LEAST_VARIANCE,
    BatchClassifier,
    Moments,
    check_mixture,
    gaussian_scores,
    log_assignments,
    neighbor_similarities,
)
from fused_clip.method.classifier.ranges import check_number
from fused_clip.support.arrays import DoubleArray


class StatA(BatchClassifier):
    """Gaussian mixture of the batch, whose means and variance are anchored to the prompts.

    StatA (Zanella et al. 2025, arXiv:2501.03729) for batches that lack most classes. Each class is a Gaussian
    of a diagonal variance that all share. Its mean is ``b m + (1 - b) t``, normalised, with m the mean of the
    images assigned to it, t its prompt and ``b = n / (n + anchor)`` for n assigned images: without images it
    is the prompt. The variance is anchored likewise. Assignments follow the zero-shot probabilities, the
    Gaussians and those of similar images.

    Parameters
    ----------
    anchor : float
        Weight of the prompt, in images; at least 0. Of 0 the anchor of a class with images vanishes.
    scale : float
        Factor of the cosine similarity in the zero-shot probabilities, at least 0: CLIP's is 100.
    neighbors : int
        Similar images that each assignment is smoothed with, at least 1.
    outer_steps : int
        Updates of means and variance, at least 1.
    inner_steps : int
        Updates of the assignments before each, at least 1.

    Attributes
    ----------
    text_of_target_ : (K, d) unit text row of the prompt that stands for each target.

    Raises
    ------
    InputError
        If a parameter is out of its range.
    """

    def __init__(
        self,
        anchor: float = 1.0,
        scale: float = 100.0,
        neighbors: int = 3,
        outer_steps: int = 10,
        inner_steps: int = 5,
    ) -> None:
        check_number("anchor", anchor, low=0)
        check_mixture(scale, neighbors, outer_steps, inner_steps)
        self.anchor = anchor
        self.scale = scale
        self.neighbors = neighbors
        self.outer_steps = outer_steps
        self.inner_steps = inner_steps

    def _log_probabilities(self, rows: DoubleArray) -> DoubleArray:
        texts = self.text_of_target_
        zero_shot: DoubleArray = log_softmax(self.scale * rows @ texts.T, axis=1)
        assigned = np.exp(zero_shot)
        of_texts = np.maximum(Moments.of(rows, assigned).scatter(texts) / len(rows), LEAST_VARIANCE)
        means, variance = texts, of_texts
        graph = neighbor_similarities(rows, rows, self.neighbors)
        for _ in range(self.outer_steps):
            evidence = zero_shot + gaussian_scores(rows, means, variance)
            log_assigned = log_assignments(evidence, graph, assigned, self.inner_steps)
            assigned = np.exp(log_assigned)
            moments = Moments.of(rows, assigned)
            means = anchored_means(moments, texts, self.anchor)
            variance = anchored_variance(moments, means, texts, of_texts, self.anchor)
        return log_assigned


def anchored_means(moments: Moments, texts: DoubleArray, anchor: float) -> DoubleArray:
    """Unit ``b m + (1 - b) t`` of each class, with ``b = n / (n + anchor)``: (K, d).

    Parameters
    ----------
    moments : of the images, whose sizes are the n and whose means are the m.
    texts : (K, d) unit text rows t.
    anchor : weight of a text row, at least 0.
    """
    mixed = moments.sums + anchor * texts
    norms = np.linalg.norm(mixed, axis=1, keepdims=True)
    unit: DoubleArray = np.where(norms > 0, mixed, texts) / np.where(norms > 0, norms, 1)
    return unit


def anchored_variance(
    moments: Moments, means: DoubleArray, texts: DoubleArray, of_texts: DoubleArray, anchor: float
) -> DoubleArray:
    """Shared variance that minimises the anchored likelihood for given means: (d,).

    Each class adds ``anchor`` images of the variance of the texts, shifted by what its mean has moved.

    Parameters
    ----------
    moments : of the images.
    means : (K, d) means of the classes.
    texts : (K, d) unit text rows.
    of_texts : (d,) variance of the images around the texts.
    anchor : weight of a text row, at least 0.
    """
    of_anchor = len(texts) * of_texts + ((texts - means) ** 2).sum(axis=0)
    pooled = moments.scatter(means) + anchor * of_anchor
    variance: DoubleArray = pooled / (moments.sizes.sum() + anchor * len(texts))
    return np.asarray(np.maximum(variance, LEAST_VARIANCE))
