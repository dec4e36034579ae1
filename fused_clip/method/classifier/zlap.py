"""ZLaP: labels propagated from the prompts through the neighbour graph of a batch of images."""

import numpy as np
from scipy.sparse import block_array, csr_array, eye_array
from scipy.sparse.linalg import cg

from fused_clip.method.classifier.batch import BatchClassifier, neighbor_similarities
from fused_clip.method.classifier.ranges import check_count, check_number
from fused_clip.support.arrays import DoubleArray

_TOLERANCE = 1e-8  # of the residual: the solution is within twice of it
_LEAST = 1e-12  # a share that only rounding tells from nothing


class ZLaP(BatchClassifier):
    """Label propagation from the prompts through the images of the batch.

    ZLaP (Stojnic et al. 2024, arXiv:2404.04072). The nodes are prompts and images. An image is joined to the
    images and, by the cosine similarity to a power, to the prompts most similar to it. With W the normalised
    adjacency, the score of an image for a class is its entry in the solution z of ``(I - alpha W) z = e``, e
    being 1 at the class's prompt. Scores are logarithms of z: an image without any path to a prompt has the
    same for all.

    Parameters
    ----------
    alpha : float
        Weight of the graph, in [0, .99].
    neighbors : int
        Neighbours of an image among the images, itself counted, at least 2; and among the prompts, at most
        their number.
    power : float
        Exponent of the similarity of images and prompts, at least 0.

    Attributes
    ----------
    text_of_target_ : (K, d) unit text row of the prompt that stands for each target.

    Raises
    ------
    InputError
        If a parameter is out of its range.
    """

    def __init__(self, alpha: float = 0.3, neighbors: int = 5, power: float = 5.0) -> None:
        check_number("alpha", alpha, low=0, high=0.99)
        check_count("neighbors", neighbors, low=2)
        check_number("power", power, low=0)
        self.alpha = alpha
        self.neighbors = neighbors
        self.power = power

    def _log_probabilities(self, rows: DoubleArray) -> DoubleArray:
        count = self.n_targets_
        system = (eye_array(count + len(rows)) - self.alpha * self.graph(rows)).tocsr()
        scores = np.empty((len(rows), count))
        for target in range(count):
            start = np.zeros(system.shape[0])
            start[target] = 1
            solution, failed = cg(system, start, rtol=_TOLERANCE)
            if failed:
                raise ValueError("label propagation did not converge")
            scores[:, target] = solution[count:]
        return np.log(np.maximum(scores, _LEAST))

    def graph(self, rows: DoubleArray) -> csr_array:
        """Normalised adjacency of prompts and images, in this order: (K + m, K + m), symmetric.

        Parameters
        ----------
        rows : (m, d) unit image rows.
        """
        texts = self.text_of_target_
        among = neighbor_similarities(rows, rows, self.neighbors - 1)
        similar = np.maximum(rows @ texts.T, 0) ** self.power
        kept = min(self.neighbors, len(texts))
        if kept < len(texts):
            least = -np.partition(-similar, kept - 1, axis=1)[:, kept - 1]
            similar[similar < least[:, None]] = 0
        to_texts = csr_array(similar)
        whole = block_array([[None, to_texts.T], [to_texts, among + among.T]]).tocsr()
        degrees = np.asarray(whole.sum(axis=1)).ravel()
        inverse = 1 / np.sqrt(np.where(degrees > 0, degrees, 1))
        return csr_array(whole.multiply(inverse[:, None]).multiply(inverse))
