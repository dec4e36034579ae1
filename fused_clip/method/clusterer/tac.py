"""Clustering of images that are each joined with the nouns nearest to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, softmax
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, validate_data

from fused_clip.method.clusterer.openmp import load_faiss
from fused_clip.method.fusion import unit_rows
from fused_clip.support.arrays import DoubleArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.option_types import Count, Positive, Rounds

_FLOATS = [np.float64, np.float32]
_BLOCK = 4096  # images whose similarities to all nouns are in memory at a time
_ITERATIONS = 50  # of the k-means that makes the centres


class TextAidedClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """k-means on images, each joined with its text counterpart, a mean of nouns: TAC without training.

    Method: Li et al., "Image clustering with external guidance" (ICML 2024, arXiv:2310.11989). Images are cut
    into centres of about `rows_per_centre` images. A noun belongs to a centre with the probability ``softmax
    over centres(noun . centre)``, and each centre keeps the nouns most certain to be its own. The counterpart
    of an image is the mean of the kept nouns, weighted by ``softmax(image . noun / temperature)``.

    Parameters
    ----------
    n_clusters : int, in [1, n]
    words : list of texts, path of a text file of one a line, or None
        Nouns; None: 5,000 of WordNet. A run leaves out those that the backbone was not trained on, if it says
        which it was: ``compact`` knows 208 words, most of them class names of its training data.
    template : str
        Text by which a noun is embedded: ``{}`` is the noun, ``{a}`` its article.
    rows_per_centre : int, at least 1
        Mean number of images of a centre; there are at least `n_clusters` centres.
    nouns_per_centre : int, at least 1
        Nouns that each centre keeps.
    temperature : float, above 0
    n_init : int, at least 1
        Starts of the last k-means.
    word_rows : (m, d) array or None
        Embeddings of the nouns; a run sets them. The order of its rows changes nothing.
    images : (n, d) array or None
        Embeddings of the images, where X are fused rows; None: X are the images. A run sets them.
    random_state : int, RandomState or None
        Of both k-means; nothing else is random.

    Attributes
    ----------
    labels_ : (n,) cluster of each row.
    nouns_ : (s,) rows of `word_rows` that were kept, ascending.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        words: str | Path | Sequence[str] | None = None,
        template: str = "a photo of {a} {}",
        rows_per_centre: Count = 300,
        nouns_per_centre: Count = 5,
        temperature: Positive = 0.005,
        n_init: Rounds = 10,
        word_rows: ArrayLike | None = None,
        images: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.words = words
        self.template = template
        self.rows_per_centre = rows_per_centre
        self.nouns_per_centre = nouns_per_centre
        self.temperature = temperature
        self.n_init = n_init
        self.word_rows = word_rows
        self.images = images
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Cluster the images.

        Parameters
        ----------
        X : (n, d) image rows; where `images` is set, only their number counts.
        y : ignored.

        Raises
        ------
        InputError
            If a parameter is out of its range.
        ValueError
            If there are no word rows, or they or the images have a wrong shape or are not finite.
        """
        rows = validate_data(self, X, dtype=_FLOATS)
        self._check_params(len(rows))
        images = unit_rows(rows if self.images is None else check_array(self.images, dtype=_FLOATS))
        if len(images) != len(rows):
            raise ValueError(f"images must have {len(rows)} rows, as X has, got {len(images)}")
        if self.word_rows is None:
            raise ValueError("word_rows must be the embeddings of the words, got None")
        words = unit_rows(check_array(self.word_rows, dtype=_FLOATS))
        if words.shape[1] != images.shape[1]:
            raise ValueError(f"word_rows must have width {images.shape[1]}, got {words.shape[1]}")
        random = check_random_state(self.random_state)
        count = max(self.n_clusters, len(images) // self.rows_per_centre)
        centres = spherical_centres(images, count, random.randint(2**31 - 1))
        # In an order of their own, so that neither sums nor ties depend on the order of the words.
        distinct, place = np.unique(words, axis=0, return_index=True)
        kept = characteristic_nouns(centres, distinct, self.nouns_per_centre)
        self.nouns_ = np.sort(place[kept])
        joined = np.hstack([images, counterparts(images, distinct[kept], self.temperature)])
        kmeans = KMeans(self.n_clusters, n_init=self.n_init, random_state=random)
        self.labels_: IntArray = kmeans.fit_predict(joined)
        return self

    def _check_params(self, n_rows: int) -> None:
        if not 1 <= self.n_clusters <= n_rows:
            rule = f"must be at least 1 and at most the number of rows (n_samples = {n_rows})"
            raise InputError("n_clusters", rule, self.n_clusters)
        for name in ("rows_per_centre", "nouns_per_centre", "n_init"):
            if getattr(self, name) < 1:
                raise InputError(f"clusterer.{name}", "must be at least 1", getattr(self, name))
        if not self.temperature > 0:
            raise InputError("clusterer.temperature", "must be above 0", self.temperature)


def spherical_centres(images: DoubleArray, count: int, seed: int) -> DoubleArray:
    """Find (count, d) unit centres by spherical k-means: each is the direction of the mean of its images.

    Parameters
    ----------
    images : (n, d) unit rows.
    count : in [1, n].
    seed : of the start.
    """
    faiss = load_faiss()
    kmeans = faiss.Kmeans(
        images.shape[1],
        count,
        niter=_ITERATIONS,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(images),
    )
    kmeans.train(np.ascontiguousarray(images, dtype=np.float32))
    return unit_rows(kmeans.centroids)


def characteristic_nouns(centres: DoubleArray, nouns: DoubleArray, per_centre: int) -> IntArray:
    """Choose the nouns that are most certain to belong to each centre: their rows, ascending.

    Parameters
    ----------
    centres : (c, d) unit rows.
    nouns : (m, d) unit rows.
    per_centre : nouns of each centre; a noun may be chosen by several.
    """
    similarity = nouns @ centres.T
    certainty = similarity - logsumexp(similarity, axis=1, keepdims=True)
    # The similarity decides where the certainty can't, as with one centre.
    order = np.lexsort((similarity, certainty), axis=0)
    return np.unique(order[-per_centre:])


def counterparts(images: DoubleArray, nouns: DoubleArray, temperature: float) -> DoubleArray:
    """Retrieve the text counterpart of each image, (n, d) unit rows.

    Parameters
    ----------
    images : (n, d) unit rows.
    nouns : (m, d) unit rows.
    temperature : of the softmax over the nouns, above 0.
    """
    found = np.empty_like(images)
    for start in range(0, len(images), _BLOCK):
        some = slice(start, start + _BLOCK)
        found[some] = softmax(images[some] @ nouns.T / temperature, axis=1) @ nouns
    return unit_rows(found)
