"""The table of all labels, the most likely wrong first."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from fused_clip.review.suspects import LabelReview
from fused_clip.runner.training_rows import TrainingRows, run_directory
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError
from fused_clip.support.files import replacing

if TYPE_CHECKING:
    from pandas import DataFrame

_ROWS_AT_ONCE = 10_000


def review_labels(run: str | Path, seed: int = 0) -> "DataFrame":
    """Compare the labels of a run's training images with the evidence, as ``fused-clip-review`` does.

    Parameters
    ----------
    run : directory of the run.
    seed : draws the folds.

    Returns
    -------
    One row for each training image, the most likely wrong first: ``position``, ``id``, ``label``,
    ``suggested``, ``wrong``, ``label_probability``, ``suggested_probability`` and the answer of each source
    of evidence.

    Raises
    ------
    InputError
        If the run has no files or embeddings there, or its labels are not known or all the same.
    """
    from pandas import DataFrame

    review = LabelReview.of(TrainingRows.of(run_directory(run, "run"), "run"), seed)
    return DataFrame([one.record() for one in review.suspects(review.order)])


def write(path: Path, review: LabelReview) -> None:
    """Write the table as csv in UTF-8, atomically.

    Parameters
    ----------
    path : of the file.
    review : of a run.

    Raises
    ------
    InputError
        If it can't be written.
    """
    columns = review.suspects(review.order[:1])[0].record()
    try:
        with replacing(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(columns), lineterminator="\n")
            writer.writeheader()
            for some in batched(review.order.tolist(), _ROWS_AT_ONCE):
                writer.writerows(one.record() for one in review.suspects(some))
    except OSError as error:
        raise InputError("out", f"{path} can't be written ({error.strerror})") from error
