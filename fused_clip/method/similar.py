"""Rows of highest cosine similarity."""

from functools import cached_property

import numpy as np

from fused_clip.method.clusterer.openmp import load_faiss
from fused_clip.method.fusion import unit_rows
from fused_clip.support.arrays import DoubleArray, FloatArray, IntArray, Rows

_WIDER = 4  # candidates that float64 decides between, for each row asked for


class SimilarRows:
    """Search rows by cosine similarity, in blocks.

    Parameters
    ----------
    rows : (n, d) rows, which are searched.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @cached_property
    def _middle(self) -> DoubleArray:
        found: DoubleArray = unit_rows(self.rows).mean(axis=0)
        return found

    @cached_property
    def _moved(self) -> FloatArray:
        return self._from_middle(self.rows)

    def _from_middle(self, rows: Rows) -> FloatArray:
        """Unit rows around the mean of all: CLIP's are so alike that products of float32 could be equal."""
        return np.ascontiguousarray(unit_rows(rows) - self._middle, dtype=np.float32)

    def nearest(self, queries: Rows, count: int) -> tuple[IntArray, DoubleArray]:
        """Find the most similar rows of each query, the most similar first; the first of equals comes first.

        Of unit rows these are the nearest. Distances in float32 give four times as many candidates, and
        float64 decides between these, so that a result does not depend on the other queries.

        Parameters
        ----------
        queries : (m, d) rows.
        count : k, at least 1; all n rows if there are fewer.

        Returns
        -------
        (m, k) positions and (m, k) cosines, in [-1, 1].
        """
        count = min(count, len(self.rows))
        width = min(_WIDER * count, len(self.rows))
        if not len(queries):
            return np.empty((0, count), dtype=np.int64), np.empty((0, count))
        faiss = load_faiss()
        candidates = faiss.knn(self._from_middle(queries), self._moved, width)[1]
        candidates.sort(axis=1)
        pairs = zip(candidates, unit_rows(queries), strict=True)
        cosines = np.stack([unit_rows(self.rows[near]) @ query for near, query in pairs])
        first = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        best = np.take_along_axis(cosines, first, axis=1)
        return np.take_along_axis(candidates, first, axis=1), np.clip(best, -1, 1)
