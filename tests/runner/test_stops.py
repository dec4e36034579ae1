"""Ctrl-C and SIGTERM: one line, every run of the tracking store ended, and the same command goes on."""

import signal
from pathlib import Path

import pytest

from tests.databases import with_database
from tests.forks import Done, shared
from tests.runner.test_full_disk import runs_in

WORDS = [
    "references.enabled=false",
    "figures.enabled=false",
    "dataset=digits",
    "clusterer=kmeans",
    "backbone._target_=tests.fakes.PixelBackbone",
    "allow=[tests]",
    "+backbone.seconds=1",  # a batch
]
SWEEP = ["-m", "seed=0,1", "dataset.seed=0,1", *WORDS]
JOBLIB = [*SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def stop(words: list[str], number: signal.Signals, folder: Path) -> Done:
    """Start a run or sweep, and stop it while it embeds."""
    by_terminal = number == signal.SIGINT  # which sends it to all
    places = [f"+backbone.log={folder / 'log'}", f"output_dir={folder}"]
    with_database(folder)
    once = ("tests.forks:signal_when", [str(folder / "log"), int(number), by_terminal])
    return shared()("run", *words, *places, before=[once], timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("words", [WORDS, SWEEP, JOBLIB], ids=["run", "sweep", "joblib"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_is_one_line_and_leaves_nothing_running(
    words: list[str], number: signal.Signals, code: int, tmp_path: Path
) -> None:
    done = stop(words, number, tmp_path)
    assert done.code == code, done.said
    assert not done.traceback
    assert done.err.splitlines() == [
        "Stopped. Finished cells and embeddings are kept in output_dir; the same command goes on from there."
    ]
    runs = runs_in(tmp_path / "mlflow.db")
    assert {run.info.status for run in runs} == {"KILLED"}
    assert len(runs) >= (1 if words is WORDS else 2), "of joblib's two cells, one may not have started"
