"""k-means of the images, started at the prompts."""

import warnings
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import validate_data

from fused_clip.method.fusion import l2_normalized, unit_rows
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.errors import InputError
from fused_clip.support.option_types import RoundsOrNone

_FLOATS = [np.float64, np.float32]
_STARTS = 10  # of the k-means that splits the images of a prompt


class KMeansFromPrompts(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Spherical k-means (Dhillon and Modha 2001, doi:10.1023/A:1007612920971) that starts at the prompts.

    Each image starts in the cluster of the prompt nearest by cosine similarity. With several clusters for a
    prompt, its images are first split by k-means among themselves. Then Lloyd's iterations: the centre of a
    cluster becomes its unit mean, each image moves to the centre nearest by cosine similarity. A cluster
    without images keeps its prompt as centre. It clusters the images, not the fused rows.

    Parameters
    ----------
    n_clusters : int
        A multiple of the number of prompts: cluster ``j`` starts at prompt ``j // (n_clusters // p)``.
    max_iter : int, at least 0
        Most iterations. 0 gives the zero-shot partition, split within each prompt.
    images : (n, d) array or None
        Image rows; None for the rows that are clustered.
    texts : (p, d) array
        Text row of each prompt.
    random_state : int, RandomState or None
        Starts the k-means within each prompt.

    Attributes
    ----------
    labels_ : (n,) cluster of each row, in [0, n_clusters); a cluster may be empty.
    cluster_centers_ : (n_clusters, d) unit centres by which `labels_` were given.
    n_iter_ : iterations done; fewer than `max_iter` if no image moved in the last.
    n_features_in_ : width of the rows.
    """

    uses_text: ClassVar[bool] = True

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        max_iter: RoundsOrNone = 100,
        images: Rows | None = None,
        texts: Rows | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.max_iter = max_iter
        self.images = images
        self.texts = texts
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Cluster the images.

        Parameters
        ----------
        X : (n, w) fused rows; clustered only where there are no `images`.
        y : ignored.

        Raises
        ------
        InputError
            Without texts, or if `n_clusters` is no multiple of their number or `max_iter` is negative.
        ValueError
            If the images are not n rows of the texts' width.
        """
        rows = validate_data(self, X, dtype=_FLOATS)
        if self.texts is None:
            raise InputError("clusterer", "k-means from prompts needs prompts")
        self.check_numbers(self.n_clusters, len(self.texts))
        if self.max_iter < 0:
            raise InputError("clusterer.max_iter", "must be at least 0", self.max_iter)
        images = rows if self.images is None else self.images
        if images.shape != (len(rows), self.texts.shape[1]):
            raise ValueError(
                f"images must be {len(rows)} rows of width {self.texts.shape[1]}, got {images.shape}"
            )
        images, texts = (unit_rows(some) for some in (images, self.texts))
        starts = np.repeat(texts, self.n_clusters // len(texts), axis=0)
        self.cluster_centers_ = starts
        self.labels_ = self._split((images @ texts.T).argmax(axis=1), images, len(texts))
        self.n_iter_, moved = 0, True
        while moved and self.n_iter_ < self.max_iter:
            self.cluster_centers_ = _centers(images, self.labels_, starts)
            labels = (images @ self.cluster_centers_.T).argmax(axis=1)
            moved = not np.array_equal(labels, self.labels_)
            self.labels_ = labels
            self.n_iter_ += 1
        return self

    @staticmethod
    def check_numbers(n_clusters: int, n_prompts: int) -> None:
        """Refuse numbers of clusters and prompts that do not go together.

        Parameters
        ----------
        n_clusters : of the partition.
        n_prompts : that it starts at.

        Raises
        ------
        InputError
            If the number of clusters is no multiple of the number of prompts.
        """
        if n_clusters < 1 or n_clusters % n_prompts:
            rule = (
                f"k-means from prompts makes as many clusters from each of the {n_prompts} prompts, so that"
            )
            raise InputError("clusterer", f"{rule} n_clusters must be a multiple of it", n_clusters)

    def _split(self, nearest: IntArray, images: DoubleArray, n_prompts: int) -> IntArray:
        """Split the images nearest to each prompt in as many clusters as start there."""
        share = self.n_clusters // n_prompts
        labels = nearest * share
        for prompt in range(n_prompts if share > 1 else 0):
            own = np.flatnonzero(nearest == prompt)
            kmeans = KMeans(min(share, len(own)), n_init=_STARTS, random_state=self.random_state)
            if len(own) > 1:
                with warnings.catch_warnings():  # of equal images, which leave a cluster empty
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    labels[own] += kmeans.fit_predict(images[own])
        return np.asarray(labels, dtype=np.int64)


def _centers(images: DoubleArray, labels: IntArray, starts: DoubleArray) -> DoubleArray:
    """(k, d) unit mean of each cluster; of one without images, where it started."""
    member = csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))), (len(starts), len(labels)))
    empty = np.bincount(labels, minlength=len(starts)) == 0
    return np.where(empty[:, None], starts, l2_normalized(np.asarray(member @ images)))
