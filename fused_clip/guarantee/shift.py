"""Whether new images come from where the calibration images come from: a two-sample test on embeddings."""

import math
from dataclasses import dataclass

import numpy as np

from fused_clip.support.arrays import BoolArray, DoubleArray, FloatArray, Rows

LEVEL = 0.01
MOST_ROWS = 1000  # of either sample: the matrix of distances grows with the square
_PERMUTATIONS = 1999
_POWER, _TRIALS, _STEPS, _POWER_ROWS = 0.8, 100, 8, 300


@dataclass(frozen=True)
class ShiftTest:
    """Outcome of the test.

    Parameters
    ----------
    p : p-value, in (0, 1]; exact under the hypothesis that all images are exchangeable.
    statistic : energy distance as a share of the mean distance between the samples, in [0, 1]; 0 for equal
        distributions.
    images, calibration_images : sizes of the samples.
    detectable : shift of all images, as a share of the mean distance between two calibration images, that
        the test finds with a probability of .8; None where it finds none as large as that distance.
    """

    p: float
    statistic: float
    images: int
    calibration_images: int
    detectable: float | None

    @property
    def withdrawn(self) -> bool:
        """Whether the images differ from the calibration images: p is at most `LEVEL`."""
        return self.p <= LEVEL

    @property
    def sentence(self) -> str:
        """The outcome for people."""
        sizes = f"{self.images:,} images against {self.calibration_images:,} calibration images"
        power = (
            "with so few it finds hardly any shift"
            if self.detectable is None
            else f"in 80 % of cases it finds a mean shift of {self.detectable:.2f} of the distance between"
            " two images"
        )
        return f"Shift test: p = {self.p:.4f} (energy distance {self.statistic:.4f}; {sizes}; {power})."


def shift_test(calibration: Rows, rows: Rows, seed: int = 0, *, power: bool = True) -> ShiftTest:
    """Test whether two samples of embeddings have one distribution, by the energy distance.

    Székely and Rizzo, "Energy statistics: A class of statistics based on distances", Journal of Statistical
    Planning and Inference 2013; p by 1,999 permutations.

    Parameters
    ----------
    calibration : (n, d) embeddings, n >= 2; at most `MOST_ROWS` of them are drawn.
    rows : (m, d) embeddings of new images, m >= 1; likewise.
    seed : draws samples and permutations.
    power : whether to find `ShiftTest.detectable`, which takes most of the time; else it is None.
    """
    rng = np.random.default_rng(seed)
    known, new = _drawn(calibration, rng), _drawn(rows, rng)
    distances = _distances(np.concatenate([known, new]))
    is_new = np.arange(len(distances)) >= len(known)
    statistic, null = _permuted(distances, is_new, rng)
    # Permutations that part few images alike differ in the last bits.
    p = (1 + int((null >= statistic - 1e-9 * abs(statistic)).sum())) / (_PERMUTATIONS + 1)
    between = float(distances[np.ix_(~is_new, is_new)].mean())
    share = statistic / (2 * between) if between else 0.0
    own = distances[: len(known), : len(known)]
    detectable = _detectable(known, own, len(new), rng) if power else None
    return ShiftTest(p, max(0.0, share), len(new), len(known), detectable)


def _drawn(rows: Rows, rng: np.random.Generator) -> FloatArray:
    kept = rows if len(rows) <= MOST_ROWS else rows[rng.choice(len(rows), MOST_ROWS, replace=False)]
    return np.asarray(kept, dtype=np.float32)


def _distances(rows: FloatArray) -> DoubleArray:
    from scipy.spatial.distance import pdist, squareform

    found: DoubleArray = squareform(pdist(rows))
    return found


def _permuted(
    distances: DoubleArray, is_new: BoolArray, rng: np.random.Generator
) -> tuple[float, DoubleArray]:
    """Energy distance of the two samples, and of `_PERMUTATIONS` random ones of the same sizes."""
    labels = np.stack([is_new, *(rng.permutation(is_new) for _ in range(_PERMUTATIONS))]).astype(np.float64)
    weights = labels / is_new.sum() - (1 - labels) / (~is_new).sum()
    energies = -np.einsum("pi,pi->p", weights @ distances, weights)
    return float(energies[0]), energies[1:]


def _detectable(
    known: FloatArray, distances: DoubleArray, count: int, rng: np.random.Generator
) -> float | None:
    """Smallest shift found with a probability of .8, on halves of the calibration images, by bisection.

    Each trial moves a sample along the line between two random images.
    """
    if math.comb(len(known) + count, count) < 1 / LEVEL:
        return None  # no permutation can have so small a p
    count = min(count, len(known) // 2, _POWER_ROWS)
    rest = min(len(known) - count, _POWER_ROWS)
    if count < 1 or rest < 2:
        return None
    typical = float(distances.sum() / (len(known) * (len(known) - 1)))
    if not typical:
        return None
    pooled = rng.permutation(len(known))[: rest + count]
    is_new = np.arange(len(pooled)) >= rest
    _, null = _permuted(distances[np.ix_(pooled, pooled)], is_new, rng)
    critical = float(np.quantile(null, 1 - LEVEL))
    trials = [_Trial.drawn(known, distances, count, rest, rng) for _ in range(_TRIALS)]

    def power(shift: float) -> float:
        return float(np.mean([trial.energy(shift * typical) > critical for trial in trials]))

    if power(1) < _POWER:
        return None
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= _POWER else (middle, high)
    return high


@dataclass(frozen=True)
class _Trial:
    """Two samples of calibration images, one of which will be moved.

    Parameters
    ----------
    squares : (m, n) squared distances between the samples.
    along : (m, n) differences in the direction of the move.
    within : sum of the mean distances within each sample, which the move leaves as they are.
    """

    squares: DoubleArray
    along: DoubleArray
    within: float

    @classmethod
    def drawn(
        cls, rows: FloatArray, distances: DoubleArray, count: int, rest: int, rng: np.random.Generator
    ) -> "_Trial":
        order = rng.permutation(len(rows))
        new, known = order[:count], order[count : count + rest]
        one, other = rng.choice(len(rows), 2, replace=False)
        line = rows[one] - rows[other]
        place = rows @ (line / max(float(np.linalg.norm(line)), 1e-12))
        within = sum(float(distances[np.ix_(own, own)].mean()) for own in (new, known))
        return cls(distances[np.ix_(new, known)] ** 2, place[new][:, None] - place[known], within)

    def energy(self, shift: float) -> float:
        moved = np.sqrt(np.maximum(self.squares + 2 * shift * self.along + shift**2, 0))
        return float(2 * moved.mean() - self.within)
