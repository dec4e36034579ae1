"""Whether ``fused-clip-embed --plan`` says the truth: predicted against measured seconds.

Usage: python -m experiments.cluster.plan_check [--images 20000] [--workers 1] [--repetitions 3]

Rates are measured once, as ``--plan`` does. Then all images are embedded in numbers of shards that the rates
were not measured with, each shard a process of its own, and merged. Images are CIFAR-10's from the mirror
FUSED_CLIP_DATA, and of noise past its end or without it.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

from experiments.cluster.images import make_images
from fused_clip.embed.cost_model import Rates, cost
from fused_clip.embed.embed_words import EmbedWords, opened
from fused_clip.embed.planning import measure

SHARDS = (2, 3, 5, 9, 14)
_LIMIT = 0.10
RESULTS = Path(__file__).with_name("plan_check.csv")


def embed(words: Sequence[str]) -> None:
    command = [sys.executable, "-m", "fused_clip.embed", *words]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


def run(words: Sequence[str], shards: int, workers: int) -> float:
    """Seconds of all shards, each a process."""
    with tempfile.TemporaryDirectory() as out:
        own = [*words, f"output_dir={out}"]
        embed([*own, f"shard=1/{shards}"])  # lists the images
        clear(Path(out))
        clock = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool:
            numbers = range(1, shards + 1)
            list(pool.map(lambda number: embed([*own, f"shard={number}/{shards}"]), numbers))
        seconds = time.perf_counter() - clock
        embed([*own, f"shards={shards}", "--merge"])  # fails unless all is there
    return seconds


def clear(out: Path) -> None:
    """Remove what the first call embedded; the list of images stays, as it does for ``--plan``."""
    for file in (out / "store").glob("shards-*/*"):
        file.unlink()


def rows(words: Sequence[str], images: int, workers: int, repetitions: int) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory() as out, opened(EmbedWords((*words, f"output_dir={out}"))) as (work, _):
        rates: Rates = measure(work, EmbedWords((*words, f"output_dir={out}")))
    print(rates, flush=True)
    for shards in SHARDS:
        predicted = cost(rates, images, workers, shards).embedding
        found = [run(words, shards, workers) for _ in range(repetitions)]
        yield {
            "workers": workers,
            "shards": shards,
            "predicted_seconds": round(predicted, 1),
            "measured_seconds": round(mean(found), 1),
            "least": round(min(found), 1),
            "most": round(max(found), 1),
            "ratio": round(predicted / mean(found), 3),
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder) / "images", given.images)
        words = ["dataset=imagefolder", f"dataset.root={images}", "backbone=compact"]
        found = []
        for row in rows(words, given.images, given.workers, given.repetitions):
            print(row, flush=True)
            found.append(row)
    with given.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(found)
    return int(any(abs(float(str(row["ratio"])) - 1) > _LIMIT for row in found))


if __name__ == "__main__":
    sys.exit(main())
