"""Seconds and bytes of embedding n images in shards on m workers, from rates measured on one machine."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

from fused_clip.store.blocks import RowBlocks
from fused_clip.store.shard import MOST_SHARDS, Shard

_HEADER = 128  # bytes at the start of a .npy file
_DIGEST = 32  # bytes of SHA-256, until the shards are merged
_LINE = 94  # bytes of the manifest for each block
_LONGEST = 3_600  # seconds of a shard, in the number of shards that is chosen


@dataclass(frozen=True)
class Rates:
    """Rates of one worker.

    Parameters
    ----------
    start : seconds from the start of a process to its first image.
    images : embedded in a second.
    hashed : bytes hashed in a second, by a merge.
    block : seconds of a merge for each block, beyond its bytes.
    width : of the embeddings.
    batch_size : of the backbone.
    listed : bytes of the list of images, for each.
    """

    start: float
    images: float
    hashed: float
    block: float
    width: int
    batch_size: int
    listed: float


@dataclass(frozen=True)
class Cost:
    """Cost of embedding a number of images.

    Parameters
    ----------
    images, workers, shards : of the work.
    embedding, merging : seconds.
    stored, meanwhile : bytes of the merged entry, and of the files besides it until it is merged.
    blocks : files of the merged entry.
    manifest : bytes of its manifest.
    """

    images: int
    workers: int
    shards: int
    embedding: float
    merging: float
    stored: int
    meanwhile: int
    blocks: int
    manifest: int


def cost(rates: Rates, images: int, workers: int, shards: int | None = None) -> Cost:
    """Predict the cost; each shard is a process of its own.

    Parameters
    ----------
    rates : of each worker.
    images : to be embedded.
    workers : that run shards at once, each as fast as the one measured.
    shards : their number; None for one that gives each worker the same, of an hour at most.
    """
    cut = RowBlocks.of(images, rates.batch_size)
    number = min(shards or _chosen(rates, images, workers), len(cut))
    stored = images * 4 * rates.width + len(cut) * _HEADER
    digests = images * _DIGEST + len(cut) * _HEADER
    return Cost(
        images,
        workers,
        number,
        embedding=_makespan(_seconds(rates, cut, number), workers),
        merging=(stored + digests) / rates.hashed + len(cut) * rates.block,
        stored=stored,
        meanwhile=digests + round(images * rates.listed),
        blocks=len(cut),
        manifest=len(cut) * _LINE,
    )


def _chosen(rates: Rates, images: int, workers: int) -> int:
    rounds = math.ceil(images / rates.images / _LONGEST / workers)
    return min(workers * max(rounds, 1), MOST_SHARDS)


def _seconds(rates: Rates, cut: RowBlocks, shards: int) -> Iterator[float]:
    """Seconds of each shard."""
    for number in range(1, shards + 1):
        share = Shard(number, shards).share(len(cut))
        rows = min(share.stop * cut.size, cut.rows) - min(share.start * cut.size, cut.rows)
        yield rates.start + rows / rates.images


def _makespan(seconds: Iterator[float], workers: int) -> float:
    """Time until all is done, where each worker takes the next shard when it is free."""
    free = [0.0] * workers
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)
