"""Measure what a cell costs once its embeddings are stored: ``python -m experiments.reuse.measure``."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.machine import environment
from fused_clip.runner.cell import commit
from fused_clip.store import Store
from fused_clip.store.entry import StoredEntry

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SWEEP = ("dataset=mnist_5k,digits", "prompt=task,grouped,swapped,none")
BARE = ("references.enabled=false", "figures.enabled=false")
ROWS, DIM, OPENINGS = 60_000, 512, 9
IntArray = NDArray[np.int64]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all; write ``results.json``, and the table of the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=HERE / "results.json", help="(%(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="reuse-") as folder:
        out = Path(folder)
        found = {
            "environment": environment(),
            "commit": commit(),
            "load": os.getloadavg()[0],
            "whole": sweep(out, "seed=0"),
            "entries": image_entries(out),
            # Another seed: nothing but the embeddings is stored of these cells.
            "bare": sweep(out, "seed=1", *BARE),
            "finished": sweep(out, "seed=1", *BARE),
            "opening": opening(out / "large"),
        }
    options.results.write_text(json.dumps(found, indent=1) + "\n")
    options.results.with_suffix(".md").write_text(table(found))
    print(table(found))


def sweep(out: Path, *overrides: str) -> dict[str, Any]:
    """Run eight cells on two datasets; return the seconds of each, from its own record."""
    before = _children()
    start = time.perf_counter()
    command = [sys.executable, "-m", "fused_clip.run", "-m", *SWEEP, *overrides, f"output_dir={out}"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    seconds = time.perf_counter() - start
    jobs = max((out / "sweeps").glob("*/*"))  # a day and a time each
    records = [json.loads(path.read_text()) for path in sorted(jobs.glob("*/record.json"))]
    cells = [
        {
            "dataset": record["axes"]["dataset"],
            "prompt": record["axes"]["prompt"],
            "reused": bool(record["reused_from"]),
            "embedded": "images_per_second" in record["metrics"],
            "seconds": record["metrics"]["seconds/total"],
            "figures": record["metrics"].get("seconds/figures", 0.0),
        }
        for record in records
    ]
    return {"seconds": seconds, "cpu_seconds": _children() - before, "cells": cells}


def image_entries(out: Path) -> list[int]:
    """Rows of each entry of image embeddings in the store."""
    found = [StoredEntry(path).manifest for path in sorted((out / "store").glob("images-*"))]
    return [manifest.about["rows"] for manifest in found if manifest]


def opening(root: Path) -> list[dict[str, float]]:
    """Store 60,000 rows, then open, check and read them time after time."""
    backbone, images, rows = _Random(), _Numbers(), np.arange(ROWS)
    Store(root).images(backbone, images, rows)
    measured = []
    for _ in range(OPENINGS):
        start, cpu = time.perf_counter(), time.process_time()
        Store(root).images(backbone, images, rows)
        measured.append({"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu})
    return measured


def table(found: dict[str, Any]) -> str:
    """Markdown: where it was measured, and what against which aim."""
    passes = sum(cell["embedded"] for cell in found["whole"]["cells"])
    facts = found["environment"]
    lines = [
        ("what", "aim", "measured"),
        ("---", "---", "---"),
        ("embedding passes of eight cells on two datasets", "2", f"{passes}"),
        ("a cell after embedding, with figures and references", "< 20 s", _span(_after(found["whole"]))),
        ("of this, its figures", "< 8 s", _span(_after(found["whole"], "figures"))),
        ("a cell after embedding, without both", "< 4 s", _span(_after(found["bare"]))),
        ("the same eight cells again, the whole command", "", f"{found['finished']['seconds']:.1f} s"),
        (f"opening {ROWS:,} x {DIM}, checked", "< .5 s", _span(run["seconds"] for run in found["opening"])),
    ]
    place = f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} used; load {found['load']:.1f}"
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{place}; commit {found['commit'][:7]}.\n\n{rows}\n"


def _after(found: dict[str, Any], part: str = "seconds") -> Iterator[float]:
    """Seconds of the cells of 4,000 / 1,000 images that embedded nothing, or of a part of them."""
    for cell in found["cells"]:
        if cell["dataset"] == "mnist_5k" and not cell["embedded"] and not cell["reused"]:
            yield cell[part]


def _span(values: Iterator[float]) -> str:
    found = sorted(values)
    return f"{np.median(found):.2f} s ({found[0]:.2f} to {found[-1]:.2f}, n = {len(found)})"


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class _Numbers:
    """Images that are nothing but their row."""

    fingerprint: str = "numbers"

    def __len__(self) -> int:
        return ROWS

    def read(self, rows: IntArray) -> list[NDArray[np.uint8]]:
        return [np.zeros((1, 1, 3), np.uint8) for _ in rows]

    def ids(self, rows: IntArray) -> list[str]:
        return [str(row) for row in rows]


@dataclass
class _Random:
    """A backbone of noise."""

    name: str = "noise"
    fingerprint: str = "noise"
    dim: int = DIM
    batch_size: int = 64

    def load(self) -> None:
        self._rng = np.random.default_rng(0)

    def prepare(self, images: Sequence[NDArray[np.uint8]]) -> int:
        return len(images)

    def encode_prepared(self, prepared: Sequence[int]) -> NDArray[np.float32]:
        return self._rng.normal(size=(sum(prepared), DIM)).astype(np.float32)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._rng.normal(size=(len(texts), DIM)).astype(np.float32)


if __name__ == "__main__":
    main()
