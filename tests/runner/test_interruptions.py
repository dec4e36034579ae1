"""Sweeps that are killed at any moment, again and again, or run beside others, end as those that were not."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import racing
from tests.attack.scale import tries
from tests.forks import shared

SEEDS = ("0", "1")
KILLS = [
    ("fused_clip.store.entry.write_atomic", 4, "before"),  # while it embeds
    ("fused_clip.runner.artifacts.write", 1, "before"),  # in the middle of a cell
    ("mlflow.MlflowClient.log_artifact", 3, "before"),  # some of its files are logged
    ("fused_clip.runner.reuse.keep", 1, "after"),  # the cell is noted, its run not finished
    ("fused_clip.runner.cell.record", 1, "before"),  # the run is finished, the sweep does not know
    ("fused_clip.tracking.MlflowTracker.adopt", 1, "after"),  # the same, of a reused cell
    ("fused_clip.runner.cell.record", 1, "after"),  # between two cells
    ("fused_clip.runner.sweep.Sweep._close", 1, "before"),  # the sweep's own run is still open
    ("mlflow.MlflowClient.log_table", 1, "before"),  # it is half closed
]
IMAGES, SHARD = 1_797, 512


def overrides(output_dir: Path, log: Path) -> list[str]:
    return [
        "-m",
        f"seed={','.join(SEEDS)}",
        "dataset=digits",
        "clusterer=kmeans",
        "references.enabled=false",
        "figures.enabled=false",
        "backbone._target_=tests.fakes.PixelBackbone",
        "allow=[tests]",
        f"+backbone.log={log}",
        f"output_dir={output_dir}",
    ]


def runs_of(output_dir: Path) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{output_dir}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'fused_clip'")
    return list(client.search_runs([experiment.experiment_id]))


def metrics(output_dir: Path, finished: list[Any]) -> dict[str, bytes]:
    """What the finished cell of each seed measured, as it stands in its file."""
    ids = {run.info.run_id: run.data.params["seed"] for run in finished}
    notes = [json.loads(path.read_text()) for path in output_dir.glob("finished/*.json")]
    noted = [note for note in notes if note["run_id"] in ids]
    assert len(noted) == len(ids) == len(set(ids.values()))
    return {ids[note["run_id"]]: (Path(note["directory"]) / "metrics.json").read_bytes() for note in noted}


@pytest.mark.slow
def test_a_sweep_that_was_killed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, cut, log = tmp_path / "whole", tmp_path / "cut", tmp_path / "embedded"
    done = [shared()("run", *overrides(cut, log), before=[("tests.forks:arm", kill)]) for kill in KILLS]
    done += [shared()("run", *overrides(place, log)) for place in (cut, whole)]
    codes = [one.code for one in done]
    assert codes == [-signal.SIGKILL] * len(KILLS) + [0, 0], [one.said for one in done]
    embedded = len(log.read_text().splitlines())
    assert embedded <= 2 * IMAGES + SHARD, "no more than the shard that was cut off is embedded again"

    runs = runs_of(cut)
    cells, once = (
        [run for run in found if "seed" in run.data.params and run.info.status == "FINISHED"]
        for found in (runs, runs_of(whole))
    )
    assert sorted(run.data.params["seed"] for run in cells) == list(SEEDS)
    assert metrics(cut, cells) == metrics(whole, once)
    parents = sorted((run for run in runs if "swept" in run.data.tags), key=lambda run: run.info.start_time)
    assert [run.info.status for run in parents] == ["KILLED"] * len(KILLS) + ["FINISHED"]
    assert {run.info.status for run in runs} == {"FINISHED", "KILLED"}
    assert set(parents[-1].data.tags["reused_from"].split()) == {run.info.run_id for run in cells}


@pytest.mark.slow
def test_sweeps_that_start_at_once_on_nothing_share_every_cell(tmp_path: Path) -> None:
    """A round; before a release twenty."""
    rounds = tries(1, 20)
    done = subprocess.run(
        [sys.executable, "-m", "tests.racing", str(tmp_path), str(rounds)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=1_800,
    )
    assert done.returncode == 0, done.stderr
    processes, cells = racing.PROCESSES, racing.CELLS
    expected = {
        "exit": [0] * processes,
        "parents": {"FINISHED": processes},
        "cells": {"FINISHED": cells},
        "runs": processes + cells,
        "notes": cells,
        "entries": {"images": 2, "texts": 1, "partition": cells},
        "unfinished": 0,
        "embedded": 60 + 30,
        "records": {"run": cells, "reused": (processes - 1) * cells},
        "shared": [processes] * cells,
    }
    assert json.loads(done.stdout) == [expected] * rounds, done.stderr
