"""Which prompt each training image is fused with.

An option whose YAML says ``uses_labels: false`` is never given labels.
"""

import logging
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import log_softmax, logsumexp

from fused_clip.method.fusion import unit_rows
from fused_clip.metrics.curve import Curve
from fused_clip.metrics.scores import contingency
from fused_clip.support.arrays import DoubleArray, FloatArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.option_types import Positive, Rounds, Share

log = logging.getLogger(__name__)
_TEMPERATURE = 0.01  # of cosine similarities, as CLIP was trained


class Pairing(NamedTuple):
    """What a pairing may return in place of the prompts alone.

    Parameters
    ----------
    prompts : (n,) prompt of each image.
    curves : how it got there, to be drawn.
    """

    prompts: IntArray
    curves: tuple[Curve, ...] = ()


def oracle(targets: IntArray, prompt_of_target: IntArray, images: FloatArray, texts: FloatArray) -> IntArray:
    """Pair each image with the prompt of its true target; one without a label as `zero_shot` does.

    Parameters
    ----------
    targets : (n,) true target of each image, in [0, K); -1 where it is not known.
    prompt_of_target : (K,) prompt that stands for each target.
    images : (n, d) image embeddings.
    texts : (p, d) text embeddings.

    Returns
    -------
    (n,) prompt index.
    """
    index = prompt_of_target[targets]
    if (targets < 0).any():
        index[targets < 0] = zero_shot(images[targets < 0], texts)
    return index


def zero_shot(images: FloatArray, texts: FloatArray) -> IntArray:
    """Pair each image with the prompt of highest cosine similarity; ties to the lowest index.

    Parameters
    ----------
    images : (n, d) image embeddings.
    texts : (p, d) text embeddings; no row may be zero.

    Returns
    -------
    (n,) prompt index.
    """
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    return np.asarray((images @ unit.T).argmax(axis=1), dtype=np.int64)


def noisy(
    targets: IntArray,
    prompt_of_target: IntArray,
    images: FloatArray,
    texts: FloatArray,
    fraction: float,
    random_state: int,
) -> IntArray:
    """Pair as `oracle`, then give exactly ``round(fraction * n)`` rows another prompt, uniformly.

    Parameters
    ----------
    targets : (n,) true target of each image; -1 where it is not known.
    prompt_of_target : (K,) prompt that stands for each target.
    images : (n, d) image embeddings.
    texts : (p, d) text embeddings, p >= 2.
    fraction : share of rows to change, in [0, 1].
    random_state : seed of the draw.

    Returns
    -------
    (n,) prompt index.

    Raises
    ------
    InputError
        If `fraction` is outside [0, 1] or there is no other prompt to give.
    """
    if not 0 <= fraction <= 1:
        raise InputError("pairing.fraction", "must be between 0 and 1", fraction)
    if len(texts) < 2:
        raise InputError("pairing", "noisy needs at least two prompts", len(texts))
    rng = np.random.default_rng(random_state)
    index = oracle(targets, prompt_of_target, images, texts)
    changed = rng.choice(len(index), size=round(fraction * len(index)), replace=False)
    index[changed] = (index[changed] + rng.integers(1, len(texts), size=len(changed))) % len(texts)
    return index


def sinkhorn(
    images: FloatArray,
    texts: FloatArray,
    temperature: Positive = _TEMPERATURE,
    iterations: Rounds = 20,
    marginals: Literal["uniform", "estimated"] = "uniform",
    gamma: Share = 0.5,
) -> IntArray:
    """Pair each image with its likeliest prompt once every prompt has its share of the images.

    The zero-shot probabilities are balanced by Sinkhorn's iterations, as for the pseudo-labels of InMaP
    (Qian, Xu and Hu 2023, arXiv:2310.19752). Otherwise a prompt near to all images takes other prompts' own.

    Parameters
    ----------
    images : (n, d) image embeddings, n at least p.
    texts : (p, d) text embeddings.
    temperature : of the cosine similarities; positive.
    iterations : of the balancing; at least 1.
    marginals : share of the images that each prompt gets. "uniform": as much as each other. "estimated": in
        proportion to its mean zero-shot probability to the power of `gamma`.
    gamma : in [0, 1]. 0 is uniform, 1 leaves the zero-shot pairing as it is.

    Returns
    -------
    (n,) prompt index.

    Raises
    ------
    InputError
        On fewer images than prompts, or an option out of its range.
    """
    choices = ("uniform", "estimated")
    if marginals not in choices:
        raise InputError("pairing.marginals", "must be a kind of shares", marginals, choices=choices)
    if not 0 <= gamma <= 1:
        raise InputError("pairing.gamma", "must be between 0 and 1", gamma)
    if len(images) < len(texts):
        rule = f"sinkhorn gives each of {len(texts)} prompts a share of the images, which are fewer"
        raise InputError("pairing", rule, len(images))
    scores = _log_probabilities(images, texts, temperature)
    expected = np.exp(scores).mean(axis=0)
    shares = expected**gamma if marginals == "estimated" else np.ones(len(texts))
    plan = balanced(scores, shares / shares.sum(), iterations)
    return np.asarray(plan.argmax(axis=1), dtype=np.int64)


def balanced(scores: DoubleArray, shares: DoubleArray, iterations: int) -> DoubleArray:
    """Scale rows and columns of ``exp(scores)`` in turn, columns first (Cuturi 2013, arXiv:1306.0895).

    Parameters
    ----------
    scores : (n, p) log-probabilities.
    shares : (p,) sums of the columns that are aimed at; positive, of sum 1.
    iterations : at least 1.

    Returns
    -------
    (n, p) logarithm of the plan: its rows sum to 1 / n, its columns to `shares` in the limit.

    Raises
    ------
    InputError
        If there are no iterations.
    """
    if iterations < 1:
        raise InputError("pairing.iterations", "must be at least 1", iterations)
    # Logarithms: at a low temperature a prompt that is near to no image has the sum 0 otherwise.
    of_rows = np.zeros((len(scores), 1))
    for _ in range(iterations):
        of_columns = np.log(shares) - logsumexp(scores + of_rows, axis=0)
        of_rows = -np.log(len(scores)) - logsumexp(scores + of_columns, axis=1, keepdims=True)
    return np.asarray(scores + of_rows + of_columns)


def adaptive(
    images: FloatArray,
    texts: FloatArray,
    partition: Callable[[IntArray], IntArray],
    clusters_of: Literal["images", "fused"] = "images",
    rounds: Rounds = 10,
    temperature: Positive = _TEMPERATURE,
) -> Pairing:
    """Pair as `zero_shot`, and let clusters correct the pairing, again and again until it is stable.

    The log-probability of a prompt is that of the image alone, plus the logarithm of the prompt's share of
    the image's cluster as it is paired: the cluster is the prior. An image that is sure of its prompt keeps
    it, one that wavers follows its cluster. Prompts are judged by the images alone in every round, so that no
    round confirms itself. A prompt that would lose its last image keeps its images of the round before.

    Clusters of fused rows follow the prompts that the rows are fused with. Where each cluster has one prompt,
    as with a fusion that parts prompts widely, they correct nothing: see the metric ``train/prompt_purity``.

    Parameters
    ----------
    images : (n, d) image embeddings.
    texts : (p, d) text embeddings.
    partition : (n,) prompt of each image -> (n,) cluster of each, -1 for noise, which keeps its prompt.
    clusters_of : "images": of the images, all fused with one and the same prompt, found once. "fused": of the
        rows fused as they are paired, found anew in every round.
    rounds : most rounds; at least 1. It ends before if no image changes, or a pairing comes again.
    temperature : of the cosine similarities; positive. The higher, the more weight for the clusters.

    Returns
    -------
    The last pairing, and for each round the share of images that changed their prompt and of those paired as
    zero-shot.

    Raises
    ------
    InputError
        On an option out of its range.
    """
    if rounds < 1:
        raise InputError("pairing.rounds", "must be at least 1", rounds)
    choices = ("images", "fused")
    if clusters_of not in choices:
        raise InputError("pairing.clusters_of", "must be what is clustered", clusters_of, choices=choices)
    scores = _log_probabilities(images, texts, temperature)
    first = index = zero_shot(images, texts)
    clusters = partition(np.zeros_like(index) if clusters_of == "images" else index)
    changed, agreed, seen = [], [], {index.tobytes()}
    for number in range(1, rounds + 1):
        if clusters_of == "fused" and number > 1:
            clusters = partition(index)
        before, index = index, _corrected(scores, clusters, index)
        changed.append(float((index != before).mean()))
        agreed.append(float((index == first).mean()))
        log.info(
            "Pairing, round %d: %.2f %% of the images got another prompt, %.2f %% have that of zero-shot.",
            number, 100 * changed[-1], 100 * agreed[-1],
        )  # fmt: skip
        if index.tobytes() in seen:
            break
        seen.add(index.tobytes())
    x = tuple(float(number) for number in range(1, len(changed) + 1))
    series = {"another prompt than before": tuple(changed), "prompt of zero-shot": tuple(agreed)}
    title = "Rounds of the adaptive pairing"
    return Pairing(index, (Curve("pairing_rounds", title, "round", "share of the train images", x, series),))


def _corrected(scores: DoubleArray, clusters: IntArray, index: IntArray) -> IntArray:
    """Pair anew, with each cluster's shares of prompts as prior."""
    counts = contingency(index, clusters, scores.shape[1])
    with np.errstate(divide="ignore"):  # a prompt that a cluster lacks gets -inf there
        prior = np.log(counts)  # up to a constant of each cluster
    kept = clusters >= 0
    corrected = index.copy()
    corrected[kept] = (scores[kept] + prior.T[clusters[kept]]).argmax(axis=1)
    while len(lost := np.setdiff1d(index, corrected)):  # giving images back may take another's last
        corrected = np.where(np.isin(index, lost), index, corrected)
    return corrected


def _log_probabilities(images: FloatArray, texts: FloatArray, temperature: float) -> DoubleArray:
    """(n, p) log-probability of each prompt by cosine similarity."""
    if not temperature > 0:
        raise InputError("pairing.temperature", "must be positive", temperature)
    rows, prompts = (unit_rows(some) for some in (images, texts))
    return np.asarray(log_softmax(rows @ prompts.T / temperature, axis=1))
