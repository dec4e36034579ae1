"""Images that a model was not made from, kept in it for guarantees on its answers."""

from dataclasses import dataclass

import numpy as np

from fused_clip.support.arrays import Array, FloatArray, IntArray

# Measured by experiments/unknown: 10 neighbours gain .002 of AUROC, and all training images .001; but every
# cluster needs as many images in the sample, and all of the sample is written into the model.
NEIGHBORS = 5
REFERENCE_ROWS = 1_000
_PREFIX = "calibration_"  # of their arrays in a model's file


@dataclass(frozen=True)
class CalibrationRows:
    """Embeddings of images held out of partition, classifier and temperature, and of some that were not.

    Parameters
    ----------
    rows : (n, d) image embeddings, as the backbone gives them.
    targets : (n,) true target, in [0, K); all -1 where no label may be used.
    reference : (r, d) embeddings of training images, to which others are compared.
    reference_targets : (r,) target of each one's cluster, in [0, K); -1 for none.
    """

    rows: FloatArray
    targets: IntArray
    reference: FloatArray
    reference_targets: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labelled(self) -> bool:
        """Whether the true targets are known."""
        return bool((self.targets >= 0).all())

    def arrays(self) -> dict[str, Array]:
        """Arrays by the names that they have in a model's file."""
        return {f"{_PREFIX}{name}": array for name, array in vars(self).items()}


def pop_calibration(arrays: dict[str, Array], n_targets: int) -> CalibrationRows | None:
    """Take calibration rows out of the arrays of a model; None if there are none.

    Parameters
    ----------
    arrays : of a model's file; those of calibration rows are removed.
    n_targets : K.

    Raises
    ------
    ValueError
        If they are damaged.
    """
    own = {name.removeprefix(_PREFIX): arrays.pop(name) for name in list(arrays) if name.startswith(_PREFIX)}
    if not own:
        return None
    for rows, targets in (("rows", "targets"), ("reference", "reference_targets")):
        _check(rows, own.get(rows), targets, own.get(targets), n_targets)
    try:
        found = CalibrationRows(**own)
    except TypeError as error:
        raise ValueError(f"calibration_: {error}") from error
    if found.rows.shape[1] != found.reference.shape[1]:
        raise ValueError("calibration_reference must be as wide as calibration_rows")
    return found


def _check(name: str, rows: Array | None, of: str, targets: Array | None, n_targets: int) -> None:
    if rows is None or rows.dtype != np.float32 or rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f"calibration_{name} must be finite float32 of shape (n, d)")
    if targets is None or targets.dtype != np.int64 or targets.shape != rows.shape[:1] or not len(targets):
        raise ValueError(f"calibration_{of} must be a whole number for each row, at least one")
    if targets.min() < -1 or targets.max() >= n_targets:
        raise ValueError(f"calibration_{of} must be in [-1, {n_targets})")
