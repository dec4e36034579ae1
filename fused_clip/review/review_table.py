"""The table of all labels, the most likely wrong first."""

import csv
from pathlib import Path

from fused_clip.review.suspects import LabelReview
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError
from fused_clip.support.files import replacing

_ROWS_AT_ONCE = 10_000


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
