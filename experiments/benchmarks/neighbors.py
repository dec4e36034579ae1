"""Neighbours in a graph, approximately: ours and faiss's two indexes that are made for it.

Each finds 10 neighbours of every row, itself included; index and search count. Facts: share of the exact
neighbours found, of 1,000 rows.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from experiments.benchmarks.measure import Benchmark, Timer
from experiments.benchmarks.mixture import SEED, WARM, mixture
from fused_clip.method.clusterer.openmp import load_faiss

NEIGHBORS, ASKED = 10, 1_000
LINKS, BREADTH = 16, 64  # of the graph: edges a row, and candidates that a search keeps
CELL_ROWS, PROBES = 300, 10  # of the inverted file: as ours


def fused_clip(rows: Any) -> Any:
    """Ours."""
    from fused_clip.method.clusterer.approximate import approximate_neighbors

    return approximate_neighbors(rows, NEIGHBORS, SEED)


def hnsw(rows: Any) -> Any:
    """Walk a graph of layers (Malkov and Yashunin 2018)."""
    index = load_faiss().IndexHNSWFlat(rows.shape[1], LINKS)
    index.hnsw.efConstruction = index.hnsw.efSearch = BREADTH
    index.add(rows)
    return index.search(rows, NEIGHBORS)[1]


def inverted_file(rows: Any) -> Any:
    """Search the nearest cells, a row at a time."""
    faiss = load_faiss()
    quantizer = faiss.IndexFlatL2(rows.shape[1])
    index = faiss.IndexIVFFlat(quantizer, rows.shape[1], max(1, len(rows) // CELL_ROWS))
    index.cp.min_points_per_centroid = 1
    index.train(rows)
    index.add(rows)
    index.nprobe = PROBES
    return index.search(rows, NEIGHBORS)[1]


def find(n_rows: int, timer: Timer, search: Any) -> dict[str, float]:
    """Find the neighbours of all rows."""
    from fused_clip.method.clusterer.neighbors import nearest_rows

    rows, _ = mixture(n_rows)
    search(rows[:WARM])
    with timer():
        found = search(rows)
    asked = np.random.default_rng(SEED).choice(n_rows, min(ASKED, n_rows), replace=False)
    exact = nearest_rows(rows[asked], rows, NEIGHBORS)
    shared = [len(np.intersect1d(*both)) for both in zip(found[asked], exact, strict=True)]
    return {"recall": float(np.mean(shared)) / NEIGHBORS}


SIZES = (20_000, 60_000)
BENCHMARKS = (
    Benchmark("neighbours", "fused_clip", partial(find, search=fused_clip), SIZES),
    Benchmark("neighbours", "faiss, HNSW", partial(find, search=hnsw), SIZES, peer=True),
    Benchmark("neighbours", "faiss, inverted file", partial(find, search=inverted_file), SIZES, peer=True),
)
