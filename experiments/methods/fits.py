"""The fits of the study as `measure` wrote them."""

import base64
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.methods.measure import read_lines
from fused_clip.support.arrays import BoolArray

Key = tuple[str, str, int | None]  # dataset, method, labels a class


class Fit(NamedTuple):
    """One fit: which test images were right, seconds, and what method=auto chose."""

    hits: BoolArray
    seconds: float
    chosen: str

    @property
    def accuracy(self) -> float:
        """Share of the test images."""
        return float(self.hits.mean())


Fits = Mapping[Key, Mapping[int, Fit]]  # by seed


def read_fits(folder: Path) -> Fits:
    """Read all fits of a backbone."""
    fits: defaultdict[Key, dict[int, Fit]] = defaultdict(dict)
    for path in sorted(folder.glob("*.jsonl")):
        dataset, _, seed = path.stem.rpartition("-")
        lines = read_lines(path)
        for line in lines:
            packed = np.unpackbits(np.frombuffer(base64.b64decode(line["hits"]), np.uint8))
            hits = packed[: 1000 if dataset.startswith("cifar100_") else 10_000].astype(bool)
            fit = Fit(hits, line["seconds"], line.get("chosen", ""))
            fits[dataset, line["method"], line["labels"]][int(seed)] = fit
    return fits


def labels_text(budget: int | None) -> str:
    """Labels a class, as in tables and figures."""
    return "all" if budget is None else str(budget)
