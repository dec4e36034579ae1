"""The measurement of what is computed once: what it takes from records, and how it tells it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.reuse import measure
from fused_clip.store import Store
from tests.conftest import ArrayRows
from tests.fakes import FakeBackbone


def cell(dataset: str, seconds: float, *, embedded: bool = False, reused: bool = False) -> dict[str, Any]:
    facts = {"dataset": dataset, "prompt": "task", "reused": reused, "embedded": embedded}
    return {**facts, "seconds": seconds, "figures": seconds / 2}


def test_the_table_counts_passes_and_takes_cells_that_embedded_nothing() -> None:
    whole = [
        cell("mnist_5k", 90.0, embedded=True),
        *(cell("mnist_5k", seconds) for seconds in (3.0, 1.0, 2.0)),
        cell("digits", 50.0, embedded=True),
        cell("digits", 7.0),
    ]
    bare = [cell("mnist_5k", 0.5), cell("mnist_5k", 99.0, reused=True)]
    found = {
        "environment": {"processor": "abacus", "cores": 2, "threads": 1},
        "commit": "c" * 40,
        "load": 0.25,
        "whole": {"seconds": 200.0, "cells": whole},
        "bare": {"seconds": 20.0, "cells": bare},
        "finished": {"seconds": 6.25, "cells": []},
        "opening": [{"seconds": 0.25}, {"seconds": 0.15}],
    }
    place, _, *lines = measure.table(found).splitlines()
    assert place == "abacus, 2 cores, 1 used; load 0.2; commit ccccccc."
    assert [line.strip("| ").split(" | ")[-1] for line in lines[2:]] == [
        "2",
        "2.00 s (1.00 to 3.00, n = 3)",
        "1.00 s (0.50 to 1.50, n = 3)",
        "0.50 s (0.50 to 0.50, n = 1)",
        "6.2 s",
        "0.20 s (0.15 to 0.25, n = 2)",
    ]


def test_a_sweep_is_read_from_the_records_of_its_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: object) -> None:
        """Leave an older sweep, and that of the command."""
        assert command[-2:] == ["seed=1", f"output_dir={tmp_path}"]
        for sweep, seconds in (("2026-01-01/09", 1.0), ("2026-01-02/08", 2.0)):
            for job, (reused, rate) in enumerate((("", {"images_per_second": 9.0}), ("/elsewhere", {}))):
                record = {
                    "axes": {"dataset": "digits", "prompt": "none"},
                    "reused_from": reused,
                    "metrics": {"seconds/total": seconds, **rate},
                }
                place = tmp_path / "sweeps" / sweep / str(job)
                place.mkdir(parents=True)
                (place / "record.json").write_text(json.dumps(record))

    monkeypatch.setattr(subprocess, "run", run)
    found = measure.sweep(tmp_path, "seed=1")
    assert [(c["embedded"], c["reused"], c["seconds"]) for c in found["cells"]] == [
        (True, False, 2.0),
        (False, True, 2.0),
    ]
    assert found["seconds"] >= 0


def test_entries_are_counted_by_their_rows(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for count in (5, 9):
        store.images(FakeBackbone(), ArrayRows("toy", count), np.arange(count))
    store.texts(FakeBackbone(), ["a cat"])
    assert sorted(measure.image_entries(tmp_path)) == [5, 9]


def test_each_opening_reads_what_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ROWS", 200)
    measured = measure.opening(tmp_path)
    assert len(measured) == measure.OPENINGS
    assert all(run["seconds"] > 0 for run in measured)
    assert len(list(tmp_path.glob("images-*"))) == 1
