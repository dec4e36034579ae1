"""``--plan``: measure a worker on this machine, and print what a number of images would cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fused_clip.embed.cost_model import Cost, Rates, cost
from fused_clip.embed.embed_words import EmbedWords
from fused_clip.support.errors import InputError
from fused_clip.support.files import sha256
from fused_clip.support.memory import size
from fused_clip.support.timing import rough_duration

if TYPE_CHECKING:
    from fused_clip.embed.shard_work import ShardWork

_LARGE = ((100_000_000, 64), (1_000_000_000, 1024))  # images and workers of the extrapolations
_TRIES = 3  # of which the fastest counts: other work on the machine only slows it
_WINDOW = 5.0  # seconds of embedding that are one try
_HASHES = 8


def measure(work: ShardWork, words: EmbedWords) -> Rates:
    """Measure a worker: a process that embeds one block, then the rate in this process, then hashing.

    Parameters
    ----------
    work : of a dataset.
    words : that make it.

    Raises
    ------
    InputError
        If the process fails.
    """
    from fused_clip.embed.shard_work import INDEXES

    name, entry = next(iter(work.entries.items()))
    with TemporaryDirectory() as folder:
        _child(words, work.count, folder)  # lists the images, and reads files for the first time
        first = entry.blocks.stop(0)
        one = min(_child(words, work.count, folder, again=True) for _ in range(_TRIES))
        images = _rate(work, name)
        hashed, block = _hashing(Path(folder), first, work.backbone.dim)
        listed = _bytes(Path(folder) / "store" / INDEXES) / max(1, work.rows)
    start = max(0.0, one - first / images)
    return Rates(start, images, hashed, block, work.backbone.dim, work.backbone.batch_size, listed)


def _child(words: EmbedWords, count: int, folder: str, *, again: bool = False) -> float:
    """Seconds of a process that embeds the first block of many; `again`: after it was embedded."""
    if again:
        for file in Path(folder, "store").glob("shards-*/*"):
            file.unlink()
    kept = [
        word for word in words.overrides if word.partition("=")[0] not in ("output_dir", "hydra/launcher")
    ]
    kept = [word for word in kept if not word.startswith("hydra.launcher.")]
    folders = [word for one in words.folders for word in ("--config-dir", one)]
    command = [sys.executable, "-m", "fused_clip.embed", *kept, f"output_dir={folder!r}", f"shard=1/{count}"]
    clock = time.perf_counter()
    done = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise InputError(
            "--plan", f"a shard can't be embedded ({(done.stderr.strip() or 'no message')[-500:]})"
        )
    return time.perf_counter() - clock


def _rate(work: ShardWork, name: str) -> float:
    """Images that this process embeds in a second: the best of some seconds, after a first batch."""
    from fused_clip.backbone.batches import embed_images
    from fused_clip.embed.shard_work import RecordedImages

    work.backbone.load()
    images, step = RecordedImages(work.indexes[name]), work.backbone.batch_size
    ranges = [range(start, min(start + step, len(images))) for start in range(0, len(images), step)]
    clock, seen, rates = time.perf_counter(), 0, []
    for rows, _ in zip(ranges, embed_images(work.backbone, images, ranges), strict=True):
        images.take(rows)
        seen += len(rows)
        seconds = time.perf_counter() - clock
        if seconds > _WINDOW or rows.stop == len(images) or not rows.start:
            rates.append(seen / seconds)
            clock, seen = time.perf_counter(), 0
        if len(rates) > _TRIES:
            break
    return max(rates[1:] or rates)  # the first batch is slower


def _hashing(folder: Path, rows: int, width: int) -> tuple[float, float]:
    """Bytes that a merge hashes in a second, and seconds for each block besides."""
    large, small = folder / "large", folder / "small"
    large.write_bytes(os.urandom(4 * width * max(rows, 10_000)))
    small.write_bytes(b"")
    seconds = [min(_timed(file) for _ in range(_HASHES)) for file in (large, small)]
    return large.stat().st_size / max(1e-9, seconds[0] - seconds[1]), 2 * seconds[1]  # rows and digests


def _timed(file: Path) -> float:
    clock = time.perf_counter()
    sha256(file)
    return time.perf_counter() - clock


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def print_plan(
    work: ShardWork, words: EmbedWords, images: Sequence[int], workers: Sequence[int], shards: int | None
) -> None:
    """Print rates and costs.

    Parameters
    ----------
    work : of a dataset.
    words : that make it.
    images : numbers of images; empty for those of the dataset, 100 million and a billion.
    workers : numbers of workers; empty for a few.
    shards : their number; None for one that fits.
    """
    rates = measure(work, words)
    print(
        f"Measured here, one worker: {rates.images:,.0f} images a second, {rates.start:.1f} s to start,"
        f" {4 * rates.width:,} bytes an image; a merge reads {size(rates.hashed)} a second"
    )
    print(f"{'images':>15} {'workers':>8} {'shards':>7} {'embedding':>10} {'merge':>9} {'store':>10} files")
    pairs = [(n, m) for n in images or [work.rows] for m in workers or (1, 2, 8)]
    for n, m in [*pairs, *(() if images or workers else _LARGE)]:
        found = cost(rates, n, m, shards if n == work.rows else None)
        print(f"{_row(found)}{'' if n <= work.rows else '  extrapolated'}")
    print("Each worker is taken to be as fast as this one, and the storage not to be the limit.")


def _row(one: Cost) -> str:
    return (
        f"{one.images:>15,} {one.workers:>8,} {one.shards:>7,} {rough_duration(one.embedding):>10}"
        f" {rough_duration(one.merging):>9} {size(one.stored):>10} {one.blocks:,}"
    )
