"""Ctrl-C and SIGTERM: one line, every run of the tracking store ended, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


def _default_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stop(words: list[str], number: signal.Signals, folder: Path) -> tuple[int, str, str]:
    """Start a run or sweep, stop it while it embeds; give exit code, standard output and error."""
    places = [f"+backbone.log={folder / 'log'}", f"output_dir={folder}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fused_clip.run", *words, *places],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts its background jobs with SIGINT ignored, and so would this process.
        preexec_fn=_default_sigint,
    )
    try:
        deadline = time.monotonic() + 300
        while not (folder / "log").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        if number == signal.SIGINT:  # a terminal sends it to all
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        printed, told = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, printed, told


@pytest.mark.slow
@pytest.mark.parametrize("words", [WORDS, SWEEP, JOBLIB], ids=["run", "sweep", "joblib"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_is_one_line_and_leaves_nothing_running(
    words: list[str], number: signal.Signals, code: int, tmp_path: Path
) -> None:
    returned, printed, told = stop(words, number, tmp_path)
    assert returned == code, told
    assert "Traceback" not in printed + told
    assert told.splitlines() == [
        "Stopped. Finished cells and embeddings are kept in output_dir; the same command goes on from there."
    ]
    runs = runs_in(tmp_path / "mlflow.db")
    assert {run.info.status for run in runs} == {"KILLED"}
    assert len(runs) >= (1 if words is WORDS else 2), "of joblib's two cells, one may not have started"
