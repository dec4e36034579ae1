"""Warnings of libraries that do not apply."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def many_labels() -> Iterator[None]:
    """Keep scikit-learn from taking many clusters or targets with a row or two each for a regression."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
        yield
