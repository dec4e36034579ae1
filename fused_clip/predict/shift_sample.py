"""The images of a prediction that the test of shift looks at: their embeddings are kept in the journal."""

import base64
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from fused_clip.guarantee.shift import MOST_ROWS
from fused_clip.predict.journal import Record
from fused_clip.support.arrays import FloatArray

_KEY = "row"


class ShiftSample:
    """A random sample of the images, the same for a command that was stopped and continued.

    Parameters
    ----------
    count : images of the prediction, at least 1; about `MOST_ROWS` of them are kept.
    """

    def __init__(self, count: int) -> None:
        self._below = 2**32 * min(1.0, MOST_ROWS / count)

    def kept(self, path: str, row: FloatArray) -> dict[str, Any]:
        """Give what an image adds to its record; nothing if it is not in the sample.

        Parameters
        ----------
        path : name of the image.
        row : (d,) its embedding.
        """
        if zlib.crc32(path.encode("utf-8", "surrogatepass")) >= self._below:
            return {}
        return {_KEY: base64.b64encode(row.astype("<f4").tobytes()).decode()}


def sampled_rows(records: Iterable[Record], dim: int) -> FloatArray:
    """Read the embeddings of the sample: (m, d).

    Parameters
    ----------
    records : of the journal.
    dim : width of the embeddings.
    """
    found = [np.frombuffer(base64.b64decode(one[_KEY]), "<f4") for one in records if _KEY in one]
    return np.stack(found) if found else np.empty((0, dim), np.float32)
