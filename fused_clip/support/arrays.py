"""Array types: one alias has one dtype everywhere; rows are samples."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]  # embeddings, and arrays on disk
DoubleArray = NDArray[np.float64]  # statistics, distances and probabilities
IntArray = NDArray[np.int64]  # indices: rows, classes, targets, prompts, clusters
BoolArray = NDArray[np.bool_]
ImageArray = NDArray[np.uint8]  # (height, width, 3) RGB pixels
Rows = NDArray[Any]  # (n, d) rows of float32 or float64; results keep their dtype
Array = NDArray[Any]  # of any dtype
