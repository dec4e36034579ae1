"""Memory and disk that one run takes, estimated from its parts before it starts."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fused_clip.runner.config import Options
from fused_clip.support.errors import InputError
from fused_clip.support.many_rows import EXACT_ROWS
from fused_clip.support.memory import available_memory, size, thread_bytes
from fused_clip.support.threads import count

if TYPE_CHECKING:
    from fused_clip.runner.build import Prepared

# Measured; the tests say how near the sums come.
_ROW_BYTES = 40  # on disk: a row of predictions.parquet and its keys
_FIGURE_BYTES = 1_400_000  # all figures of a run, as PNG and PDF
_GRID_BYTES = 900_000  # their copies for the image grid
_RUN_BYTES = 150_000  # configs, logs, and the run's part of the tracking database
_NAME_BYTES = 400  # in memory: name, label and answers of a row, as Python objects
_WORK_BYTES = 24  # of a value of rows that are worked on at a time: three copies in float64
_SLACK = 1.1  # of allocators, and of smaller arrays


def memory_bytes(prepared: "Prepared") -> tuple[int, int, str]:
    """Estimate the memory of embeddings and of the clusterer that takes most, and give its name.

    The embeddings are there as they came, if they came in a file that is read whole, as the rows of both
    splits, and fused. Steps that need copies in float64 take at most 100,000 rows at a time, but a classifier
    that learns from labelled images takes all of them.

    Parameters
    ----------
    prepared : parts of the run.
    """
    from fused_clip.method.fusion import Concatenation

    dataset, method, width = prepared.dataset, prepared.method, prepared.backbone.dim
    fused = 2 * width if isinstance(method.fusion, Concatenation) else width
    train, rows = len(dataset.train), sum(map(len, dataset.splits))
    learns = method.classifier.uses_labels and not method.classifier.uses_clusters
    at_once = train if learns else min(train, EXACT_ROWS)
    working = max(4 * fused * train, _WORK_BYTES * fused * at_once)  # k-means centres a copy of its rows
    copied = fused if prepared.prompts.texts else 0  # images alone are not fused
    kept = 4 * (width + copied) * rows + _NAME_BYTES * rows + held_bytes(prepared)
    return round(_SLACK * (kept + working)), *_clusterer(prepared)


def held_bytes(prepared: "Prepared") -> int:
    """Bytes of the vectors that were read with the data.

    Parameters
    ----------
    prepared : parts of the run.
    """
    from fused_clip.dataset.vectors import Vectors

    images = {id(split.images): split.images for split in prepared.dataset.splits}.values()
    arrays = [one.vectors for one in images if isinstance(one, Vectors)]
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


def _clusterer(prepared: "Prepared") -> tuple[int, str]:
    """Bytes and name of the clusterer that takes most, of the run, its candidates and its references."""
    from fused_clip.method.clusterer.footprint import clusterer_bytes
    from fused_clip.method.clusterer.number import MOST
    from fused_clip.method.clusterer.wrapped import innermost

    dataset, own, width = prepared.dataset, prepared.method, prepared.backbone.dim
    used = [
        (candidate.method.clusterer, candidate.method.clusters_per_target)
        for candidate in prepared.candidates
    ]
    for parts in ({}, *(reference.parts for reference in prepared.references)):
        number = parts.get("clusters_per_target", own.clusters_per_target)
        used.append((parts.get("clusterer", own.clusterer), number))
    needs = []
    for clusterer, number in used:
        clusters = (MOST if number == "auto" else number) * len(prepared.prompts.target_names)
        need = clusterer_bytes(clusterer, len(dataset.train), width, clusters)
        needs.append((need, type(innermost(clusterer)).__name__))
    return max(needs)


def check_memory(prepared: "Prepared") -> int:
    """Refuse a run that needs more memory than is free; give the estimate in bytes.

    Parameters
    ----------
    prepared : parts of the run.

    Raises
    ------
    InputError
        If it needs more.
    """
    rows, clusterer, name = memory_bytes(prepared)
    threads = thread_bytes(count() + 1)
    need, free = rows + clusterer + threads, available_memory() + held_bytes(prepared)
    if need > free:
        train, test = len(prepared.dataset.train), len(prepared.dataset.test)
        parts = [f"{size(rows)} for embeddings of {train + test:,} rows"]
        parts += [f"{size(clusterer)} for {name} on {train:,} of them"] if clusterer else []
        parts += [f"{size(threads)} of address space for threads"] if threads else []
        rule = f"the run takes about {size(need)} ({', '.join(parts)}), and {size(free)} are free"
        hint = "Use fewer rows (dataset.n_train)" + (" or clusterer=kmeans" if clusterer else "")
        raise InputError("memory", rule, hint=hint)
    return need


def run_bytes(options: Options, prepared: "Prepared", *, copied: bool, job: bool) -> int:
    """Estimate the bytes that a run writes, apart from the store.

    Parameters
    ----------
    options : of the run.
    prepared : its parts.
    copied : whether the tracking store copies files.
    job : whether it is a job of a sweep.
    """
    from fused_clip.method.clusterer import number
    from fused_clip.runner import artifacts

    dataset, backbone = prepared.dataset, prepared.backbone
    splits = (len(dataset.train), len(dataset.test))
    classes = len(dataset.class_names)
    clusters = number.MOST if options.clusters_per_target == "auto" else options.clusters_per_target
    vectors = classes * (clusters + 1)  # centroids and texts
    if artifacts.kept_embeddings(options, dataset, job=job) == "fused":
        vectors += sum(min(rows, artifacts.MAX_ROWS) for rows in splits)
    files = 4 * vectors * backbone.dim + _ROW_BYTES * sum(splits)
    figures = _FIGURE_BYTES if options.figures.enabled else 0
    others = 1 + options.references.draws if options.references.enabled else 0  # image-only, rotated text
    partitions = 8 * splits[0] * (1 + others)
    grid = _GRID_BYTES if options.figures.enabled and copied else 0
    return (files + figures) * (2 if copied else 1) + grid + partitions + _RUN_BYTES


def check_disk(
    options: Options, prepared: "Prepared", output_dir: Path, *, copied: bool, job: bool = False
) -> int:
    """Refuse a run that writes more than is free; give the estimate in bytes.

    Parameters
    ----------
    options : of the run.
    prepared : its parts.
    output_dir : where runs and the store are.
    copied : whether the tracking store copies files.
    job : whether it is a job of a sweep.

    Raises
    ------
    InputError
        If it writes more.
    """
    need = run_bytes(options, prepared, copied=copied, job=job)
    need += sum(store_bytes(prepared, output_dir, {}).values())
    free = shutil.disk_usage(output_dir).free
    if need > free:
        rule = f"the run writes about {size(need)} and {size(free)} are free"
        hint = "Free space, choose another folder, or use fewer rows (dataset.n_train)"
        raise InputError("output_dir", rule, str(output_dir), hint=hint)
    return need


def store_bytes(prepared: "Prepared", output_dir: Path, planned: Mapping[str, int]) -> dict[str, int]:
    """Bytes of each entry that the store will get, in addition to those planned already.

    Parameters
    ----------
    prepared : parts of a run.
    output_dir : where the store is.
    planned : bytes of entries that are going to be there, by name.
    """
    from fused_clip.store import Store

    store = Store(output_dir / "store")
    missing: dict[str, int] = {}
    for split in (prepared.dataset.train, prepared.dataset.test):
        known = {**planned, **missing}
        missing |= store.missing(prepared.backbone, split.images, split.rows, known)
    return missing
