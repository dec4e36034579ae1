"""What grows when entries do: files, manifest, seconds and memory of a merge, with rows of one number.

Usage: python -m experiments.cluster.scale [BLOCKS ...]
       python -m experiments.cluster.scale --list IMAGES

Each block is one image with an embedding of one number, so that the cost of a block is left: a merge
of 20,000 blocks of 50,000 images has the same files and lists, and in addition reads their bytes once. Each
number of blocks runs in a process of its own, whose peak of memory is stated. ``--list`` writes a tar file of
images of no size, and states the cost of their list.
"""

import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fused_clip.store.blocks import RowBlocks
from fused_clip.store.merging import merge
from fused_clip.store.shard import Shard
from fused_clip.store.shards import ShardedEntry
from fused_clip.support import files
from fused_clip.support.arrays import Array, FloatArray

# Of 10, 100 and 1,000 million images; the last is what 512 rows a block would make of 100 million.
BLOCKS = (2_000, 20_000, 195_313)
SHARDS = 64


class OneNumber:
    """What a sharded entry asks of a backbone."""

    name, fingerprint, dim, batch_size = "one number", "one number", 1, 1


def compute(starts: Sequence[int]) -> Iterator[tuple[int, FloatArray, Array]]:
    row, digest = np.ones((1, 1), np.float32), np.zeros((1, 32), np.uint8)
    for start in starts:
        yield start, row, digest


def measure(count: int, root: Path) -> dict[str, float]:
    """Write and merge `count` blocks."""
    entry = ShardedEntry(root, "listing", RowBlocks(count, 1), OneNumber())  # type: ignore[arg-type]
    clock = time.perf_counter()
    for number in range(1, SHARDS + 1):
        shard = Shard(number, SHARDS)
        # The list of a shard is written once, not after each block: that is measured by its size.
        part = {}
        entry._open()
        for start, rows, digests in compute(entry.starts(shard)):
            part[RowBlocks.name(start)] = entry._entry.write(RowBlocks.name(start), rows)
            part[RowBlocks.digest_name(start)] = entry._entry.write(RowBlocks.digest_name(start), digests)
        entry._list(shard, part)
    written = time.perf_counter() - clock
    clock = time.perf_counter()
    whole = merge(entry, "first")
    merged = time.perf_counter() - clock
    clock = time.perf_counter()
    if len(whole.intact()) != count:
        raise RuntimeError("the merged entry is damaged")
    return {
        "blocks": count,
        "write_seconds": written,
        "merge_seconds": merged,
        "open_seconds": time.perf_counter() - clock,
        "manifest_bytes": (whole.folder / "manifest.json").stat().st_size,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def list_images(count: int, root: Path) -> None:
    """Write a tar file of `count` images of no size, and list it."""
    from fused_clip.dataset.index_sources import index_of
    from fused_clip.dataset.recipe import Recipe

    with tarfile.open(root / "images.tar", "w") as tar:
        for number in range(count):
            tar.addfile(tarfile.TarInfo(f"{number:09d}.jpg"))
            tar.members.clear()  # which would count as memory of the list
    recipe = Recipe(
        name="tar", path=str(root / "images.tar"), image_column="image", labels="none", classes=["a", "b"]
    )
    clock = time.process_time()
    index_of("fused_clip.dataset.webdataset", recipe, {}, None, root / "list")
    size = sum(file.stat().st_size for file in (root / "list").rglob("*") if file.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = time.process_time() - clock
    print(f"{count:,} images: {size / 1e6:.1f} MB, {seconds:.1f} s of a core, peak {peak / 1e6:,.0f} MB")


def main() -> None:
    if "--list" in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            list_images(int(sys.argv[-1]), Path(folder))
        return
    if "--child" in sys.argv:
        files.os.fsync = lambda _: None  # type: ignore[attr-defined]  # of single numbers; a block has megabytes
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(int(sys.argv[-1]), Path(folder))))
        return
    counts = [int(word) for word in sys.argv[1:]] or BLOCKS
    print("| blocks | manifest | merge | to open | peak memory |\n|---:|---:|---:|---:|---:|")
    for count in counts:
        command = [sys.executable, "-m", "experiments.cluster.scale", "--child", str(count)]
        done = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603
        found = json.loads(done.stdout)
        print(
            f"| {count:,} | {found['manifest_bytes'] / 1e6:.1f} MB | {found['merge_seconds']:.1f} s"
            f" | {found['open_seconds']:.1f} s | {found['peak_bytes'] / 1e6:,.0f} MB |"
        )


if __name__ == "__main__":
    main()
