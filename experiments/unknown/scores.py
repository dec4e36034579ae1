"""Candidate scores of novelty of a fitted model: the higher, the less like its training images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp, softmax
from sklearn.covariance import ledoit_wolf
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.fusion import unit_rows
from fused_clip.model.calibration_rows import NEIGHBORS, REFERENCE_ROWS
from fused_clip.support.arrays import DoubleArray, FloatArray, IntArray
from fused_clip.support.sampling import stratified_sample

WIDTHS = (1, 5, 10, 50)
SAMPLES = (200, 500, 1_000, 2_000)


@dataclass(frozen=True)
class Scorer:
    """A fitted model with its training rows, and what the scores need of them.

    Parameters
    ----------
    model : fitted and calibrated.
    train : (n, d) its training rows.
    seed : draws samples of them.
    """

    model: PromptFusedClassifier
    train: FloatArray
    seed: int

    def scores(self, rows: FloatArray) -> dict[str, DoubleArray]:
        """Compute every score: (m,) by name.

        Parameters
        ----------
        rows : (m, d) embeddings.
        """
        values = self.model.target_scores(rows).values
        logits = values / float(self.model.temperature_ or 1)
        found = {
            "target score": -values.max(axis=1),
            "energy": -logsumexp(logits, axis=1),
            "maximum probability": -softmax(logits, axis=1).max(axis=1),
            "distance to prompts": 1
            - (unit_rows(rows) @ unit_rows(np.asarray(self.model.text_)).T).max(axis=1),
            "ViM": self._virtual_logit(rows, logits),
        }
        unit = unit_rows(rows)
        found |= self._gaussian.scores(unit)
        found[f"Mahalanobis, {REFERENCE_ROWS} rows"] = self._gaussian_of_sample.scores(unit)["Mahalanobis"]
        found |= _neighbours(rows, self.train, WIDTHS)
        for size, sample in self._samples.items():
            near = _neighbours(rows, self.train[sample], (5, 10))
            found |= {f"{name}, {size} rows": near[name] for name in near if name.startswith("mean")}
        return found

    @cached_property
    def _samples(self) -> dict[int, IntArray]:
        """Training rows of each sample; each cluster has its share of them."""
        labels = self.model.labels_
        return {size: stratified_sample(labels, size, self.seed, least=NEIGHBORS) for size in SAMPLES}

    @cached_property
    def _predicted(self) -> IntArray:
        """(n,) predicted target of each training row, so that no label is needed."""
        return self.model.target_scores(self.train).values.argmax(axis=1)

    @cached_property
    def _gaussian(self) -> "_Gaussian":
        return _Gaussian.of(self.train, self._predicted)

    @cached_property
    def _gaussian_of_sample(self) -> "_Gaussian":
        sample = self._samples[REFERENCE_ROWS]
        return _Gaussian.of(self.train[sample], self._predicted[sample])

    @cached_property
    def _residual(self) -> tuple[DoubleArray, float]:
        """Directions outside the principal subspace, of the paper's width, and the weight of a residual."""
        rows, width = unit_rows(self.train), self.train.shape[1]
        kept = 1000 if width >= 2048 else 512 if width >= 768 else width // 2
        outside = np.linalg.eigh(rows.T @ rows)[1][:, : width - kept]
        logits = self.model.target_scores(self.train).values / float(self.model.temperature_ or 1)
        return outside, float(logits.max(axis=1).mean() / np.linalg.norm(rows @ outside, axis=1).mean())

    def _virtual_logit(self, rows: FloatArray, logits: DoubleArray) -> DoubleArray:
        outside, weight = self._residual
        residual = np.linalg.norm(unit_rows(rows) @ outside, axis=1)
        return np.asarray(abs(weight) * residual - logsumexp(logits, axis=1))


@dataclass(frozen=True)
class _Gaussian:
    """Gaussians of one covariance around the predicted targets of unit rows, and one around all.

    Parameters
    ----------
    means : (K, d) of the predicted targets.
    middle : (d,) of all rows.
    within, whole : (d, d) Cholesky factors of both covariances, with one shrinkage, so that their difference
        is that of the targets' means.
    """

    means: DoubleArray
    middle: DoubleArray
    within: DoubleArray
    whole: DoubleArray

    @classmethod
    def of(cls, train: FloatArray, predicted: IntArray) -> "_Gaussian":
        rows = unit_rows(train)
        kinds, kind = np.unique(predicted, return_inverse=True)
        means = np.stack([rows[kind == each].mean(axis=0) for each in range(len(kinds))])
        middle = rows.mean(axis=0)
        within, _ = ledoit_wolf(rows - means[kind], assume_centered=True)
        between = (means - middle)[kind]
        whole = within + between.T @ between / len(rows)
        return cls(means, middle, np.linalg.cholesky(within), np.linalg.cholesky(whole))

    def scores(self, unit: DoubleArray) -> dict[str, DoubleArray]:
        moved, centers = (solve_triangular(self.within, some.T, lower=True).T for some in (unit, self.means))
        nearest = euclidean_distances(moved, centers, squared=True).min(axis=1)
        overall = np.square(solve_triangular(self.whole, (unit - self.middle).T, lower=True)).sum(axis=0)
        return {"Mahalanobis": nearest, "relative Mahalanobis": nearest - overall}


def _neighbours(rows: FloatArray, reference: FloatArray, widths: Sequence[int]) -> dict[str, DoubleArray]:
    """Cosine distance to the nearest reference row of each rank, and the mean of those up to it."""
    search = NearestNeighbors(
        n_neighbors=min(max(widths), len(reference)), algorithm="brute", metric="cosine"
    )
    near = search.fit(reference).kneighbors(rows)[0].astype(np.float64)
    found = {f"neighbour {k}": near[:, min(k, near.shape[1]) - 1] for k in widths}
    return found | {f"mean of {k} neighbours": near[:, :k].mean(axis=1) for k in widths if k > 1}
