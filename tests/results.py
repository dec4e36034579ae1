"""Results made up for the tests of what is drawn and recorded of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fused_clip.model.result import Result, SplitResult


def make_split(rows: NDArray[np.float32], targets: Any, clusters: Any, predicted: Any) -> SplitResult:
    n = len(rows)
    return SplitResult(
        ids=tuple(f"row/{row}" for row in range(n)),
        rows=np.arange(n),
        prompts=np.asarray(targets, dtype=np.int64),
        fused=rows,
        targets=np.asarray(targets, dtype=np.int64),
        clusters=np.asarray(clusters, dtype=np.int64),
        predicted=np.asarray(predicted, dtype=np.int64),
        distances=np.ones(n, np.float32),
        margins=np.ones(n, np.float32),
    )


def make_result(
    names: Sequence[str] = ("cat", "dog", "truck"),
    *,
    clusters_per_target: int = 2,
    n_train: int = 60,
    n_test: int = 30,
    dim: int = 8,
    **changes: Any,
) -> Result:
    """Blobs, one a target, whose clusters are pure and whose every tenth test row is predicted wrong."""
    rng = np.random.default_rng(3)
    means = 4 * rng.normal(size=(len(names), dim))
    k = clusters_per_target * len(names)

    def split(n: int) -> SplitResult:
        targets = np.arange(n) % len(names)
        clusters = (np.arange(n) // len(names) % clusters_per_target) * len(names) + targets
        predicted = np.where(np.arange(n) % 10 == 9, (targets + 1) % len(names), targets)
        rows = (means[targets] + rng.normal(size=(n, dim))).astype(np.float32)
        return make_split(rows, targets, clusters, predicted)

    parts: dict[str, Any] = {
        "dataset": "toy",
        "prompt": "task",
        "backbone": "tiny",
        "target_names": tuple(names),
        "texts": tuple(f"This is a {name}" for name in names),
        "text_embeddings": means.astype(np.float32),
        "train": split(n_train),
        "test": split(n_test),
        "cluster_targets": np.arange(k) % len(names),
        "cluster_centers": np.zeros((k, dim), np.float32),
        "missing_targets": (),
        "metrics": {"test/accuracy": 0.9, "train/ari": 0.25, "n_clusters": float(k)},
        "tags": {"data_source": "made up", "data_fingerprint": "0123456789abcdef" * 4},
        "uses_labels": True,
        "backbone_saw_labels": False,
    }
    return Result(**{**parts, **changes})
