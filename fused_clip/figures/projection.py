"""t-SNE: places of rows on a map."""

import numpy as np

from fused_clip.support.arrays import DoubleArray, FloatArray

PCA_AXES = 50
PERPLEXITY = 30.0
# Fewer steps and coarser far-off forces than the customary 250, 500 and 0.5: from a PCA start, the divergence
# that t-SNE minimises ends 4 % higher on 2,000 MNIST digits, in 30 % of the time.
EXAGGERATED_STEPS, STEPS, THETA = 100, 200, 0.65
FEWEST_ROWS = 8  # t-SNE has no neighbourhoods to keep below this
EXACT_NEIGHBORS = 5_000  # up to here an exact search costs less than an approximate one
# Added rows start at the median of these neighbours. 50 steps separate rows with the same start; openTSNE's
# 250 give 1,000 MNIST digits the same neighbours (10-NN accuracy .992) for 1.4 s more.
ADDED_STEPS, ADDED_NEIGHBORS = 50, 25


def project(rows: FloatArray, seed: int) -> DoubleArray:
    """Lay rows out on a plane: t-SNE (openTSNE) on their first 50 PCA axes, started from the first two.

    Fewer than 8 rows are placed on their PCA axes. Rows may coincide, or have one dimension.

    Parameters
    ----------
    rows : (n, d) finite rows.
    seed : drives the draws.

    Returns
    -------
    (n, 2) positions.
    """
    return project_both(rows, rows[:0], seed)[0]


def project_both(fitted: FloatArray, added: FloatArray, seed: int) -> tuple[DoubleArray, DoubleArray]:
    """Lay rows out as `project` does, and add others to the same plane.

    Added rows move no fitted row and no other added row (Policar, Strazar and Zupan 2023, "Embedding to
    reference t-SNE space addresses batch effects in single-cell classification").

    Parameters
    ----------
    fitted : (n, d) finite rows.
    added : (m, d) finite rows.
    seed : drives the draws.

    Returns
    -------
    (n, 2) and (m, 2) positions.
    """
    mean, axes = _principal_axes(fitted)
    rows, others = (part.astype(np.float64) @ axes - mean @ axes for part in (fitted, added))
    if len(fitted) < FEWEST_ROWS:
        return rows[:, :2], others[:, :2]
    # t-SNE needs a small start; the jitter separates rows that coincide, on which no force would act.
    start = rows[:, :2] * (1e-4 / max(float(rows[:, 0].std()), np.finfo(np.float64).tiny))
    start += np.random.default_rng(seed).normal(scale=1e-6, size=start.shape)
    return _tsne(rows, others, start, seed)


def _principal_axes(rows: FloatArray) -> tuple[DoubleArray, DoubleArray]:
    """(d,) mean, and (d, max(2, PCA axes)) directions with fixed signs: the same rows, the same picture."""
    mean = rows.mean(axis=0, dtype=np.float64)
    centred = rows.astype(np.float64) - mean
    # The smaller of the two Gram matrices has the same axes as a full decomposition, at a tenth of its time.
    if centred.shape[1] <= centred.shape[0]:
        directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :PCA_AXES]
    else:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        lengths = np.sqrt(np.clip(values, 0.0, None))
        inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 1e-7 * lengths.max())
        directions = (centred.T @ (vectors * inverse))[:, ::-1][:, :PCA_AXES]
    scores = centred @ directions
    largest = np.abs(scores).argmax(axis=0)
    directions = directions * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1.0, 1.0)
    return mean, np.pad(directions, ((0, 0), (0, max(0, 2 - directions.shape[1]))))


def _tsne(
    rows: DoubleArray, others: DoubleArray, start: DoubleArray, seed: int
) -> tuple[DoubleArray, DoubleArray]:
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN

    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    affinities = PerplexityBasedNN(
        rows,
        perplexity=perplexity,
        method="exact" if len(rows) <= EXACT_NEIGHBORS else "annoy",
        n_jobs=1,
        random_state=seed,
    )
    # One thread: on a busy machine threads that synchronise at every step mostly wait for each other.
    embedding = TSNEEmbedding(
        start, affinities, negative_gradient_method="bh", theta=THETA, n_jobs=1, random_state=seed
    )
    embedding.optimize(EXAGGERATED_STEPS, exaggeration=12, momentum=0.8, inplace=True)
    embedding.optimize(STEPS, momentum=0.8, inplace=True)
    if not len(others):
        return np.asarray(embedding, dtype=np.float64), others[:, :2]
    k = min(ADDED_NEIGHBORS, len(rows) - 1)
    added = embedding.transform(others, perplexity=min(5.0, perplexity), k=k, n_iter=ADDED_STEPS)
    return np.asarray(embedding, dtype=np.float64), np.asarray(added, dtype=np.float64)
