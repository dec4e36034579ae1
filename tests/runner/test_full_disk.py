"""Places that can't be written: told in a line before work starts, or kept whole until there is room."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fused_clip.support import files
from tests.forks import completed

FAST = [
    "references.enabled=false",
    "figures.enabled=false",
    "dataset=digits",
    "clusterer=kmeans",
    "backbone._target_=tests.fakes.PixelBackbone",
    "allow=[tests]",
]
ROOM = 2 << 20


def fused_clip(*overrides: str, output_dir: Path) -> subprocess.CompletedProcess[str]:
    return completed(*overrides, *FAST, f"output_dir={output_dir}", cwd=Path(__file__).parents[2])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"tmpfs can't be mounted: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def leave_free(disk: Path, count: int) -> Path:
    """Fill a disk up to `count` bytes; the file that does it may be removed."""
    filler = disk / "filler"
    state = os.statvfs(disk)
    with suppress(OSError):  # others may write as well
        filler.write_bytes(bytes(state.f_bavail * state.f_frsize - count))
    return filler


def test_a_place_that_can_be_written_is_made(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("mode", [[], ["-m", "seed=0,1"]])
def test_an_output_directory_below_a_file_is_told_at_once(mode: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = fused_clip(*mode, output_dir=tmp_path / "file" / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: output_dir: must be a writable folder")
    assert str(tmp_path / "file" / "out") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mode", [[], ["-m", "seed=0,1"]])
def test_a_disk_that_is_full_from_the_start_is_told_at_once(mode: list[str], small_disk: Path) -> None:
    leave_free(small_disk, 4096)
    done = fused_clip(*mode, output_dir=small_disk / "out")
    assert done.returncode == 1
    assert "Error: output_dir: " in done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_that_will_not_fit_is_refused(small_disk: Path) -> None:
    done = fused_clip("-m", "seed=range(20)", "tracking=none", output_dir=small_disk / "out")
    assert done.returncode == 1
    assert "Error: output_dir: the sweep takes about" in done.stderr
    assert not list(small_disk.glob("out/store/*"))


def test_a_run_that_will_not_fit_is_refused(small_disk: Path) -> None:
    leave_free(small_disk, 300_000)  # of the 460,032 bytes that the embeddings take
    done = fused_clip("tracking=none", output_dir=small_disk / "out")
    assert done.returncode == 1
    assert "Error: output_dir: the run writes about" in done.stderr
    assert not list(small_disk.glob("out/store/*"))


FILLED_AFTER_THE_FORECAST = """
import sys
from pathlib import Path
from fused_clip.run import main
from fused_clip.runner import resources
from tests.runner.test_full_disk import leave_free

check_disk = resources.check_disk

def checked(*args, **kwargs):
    need = check_disk(*args, **kwargs)
    leave_free(Path(disk), 300_000)
    return need

disk, *sys.argv[1:] = sys.argv[1:]
resources.check_disk = checked
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("tracking", ["none", "mlflow"])
def test_a_run_goes_on_when_there_is_room_again(tracking: str, small_disk: Path, tmp_path: Path) -> None:
    uri = f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}"
    words = [f"tracking={tracking}", uri, *FAST, f"output_dir={small_disk / 'out'}"]
    done = subprocess.run(
        [sys.executable, "-c", FILLED_AFTER_THE_FORECAST, str(small_disk), *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    assert "Error: output_dir: must be a writable folder with free space" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(small_disk.glob("out/finished/*.json"))

    (small_disk / "filler").unlink()
    done = fused_clip(f"tracking={tracking}", uri, output_dir=small_disk / "out")
    assert done.returncode == 0, done.stderr
    assert re.search(r"going on after [12] finished parts", done.stdout)
    (note,) = small_disk.glob("out/finished/*.json")
    metrics = json.loads((Path(json.loads(note.read_text())["directory"]) / "metrics.json").read_text())
    assert 0 < metrics["test/accuracy"] <= 1
    if tracking == "mlflow":
        assert [run.info.status for run in runs_in(tmp_path / "mlflow.db")] == ["FAILED", "FINISHED"]


def runs_in(database: Path) -> list[Any]:
    """Runs of a tracking database, oldest first."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    (experiment,) = client.search_experiments(filter_string="name = 'fused_clip'")
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


FILLED_AFTER_THE_FIRST_CELL = """
import sys
from pathlib import Path
from fused_clip.runner import cell
from fused_clip.run import main
from tests.runner.test_full_disk import leave_free

record = cell.record

def recorded(*args, **kwargs):
    record(*args, **kwargs)
    leave_free(Path(disk), 4096)

disk, *sys.argv[1:] = sys.argv[1:]
cell.record = recorded
main()
"""


@pytest.mark.slow
def test_a_sweep_whose_disk_gets_full_ends_at_once_and_goes_on_later(
    small_disk: Path, tmp_path: Path
) -> None:
    out, uri = small_disk / "out", f"sqlite:///{tmp_path / 'mlflow.db'}"
    words = ["-m", "seed=0,1", f"tracking.uri={uri}", *FAST, f"output_dir={out}"]
    done = subprocess.run(
        [sys.executable, "-c", FILLED_AFTER_THE_FIRST_CELL, str(small_disk), *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    assert "Error: output_dir: must be a writable folder with free space" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "1 jobs" in done.stdout, "the table tells what is finished"
    cell, parent = sorted(runs_in(tmp_path / "mlflow.db"), key=lambda run: "swept" in run.data.tags)
    assert (cell.info.status, parent.info.status) == ("FINISHED", "FAILED")

    (small_disk / "filler").unlink()
    done = fused_clip(*words[:3], output_dir=out)
    assert done.returncode == 0, done.stderr
    assert "2 cells: 1 finished already and reused, 1 to run" in done.stdout


@pytest.mark.slow
def test_a_sweep_side_by_side_whose_disk_gets_full_ends_with_a_line_and_goes_on_later(
    small_disk: Path, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-o", f"remount,size={3 * ROOM}", str(small_disk)], check=True)
    out, uri = small_disk / "out", f"sqlite:///{tmp_path / 'mlflow.db'}"
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    words = ["-m", "seed=range(4)", "dataset.seed=0", f"tracking.uri={uri}", *joblib]
    with subprocess.Popen(
        [sys.executable, "-m", "fused_clip.run", *words, *FAST, f"output_dir={out}"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as sweep:
        deadline = time.monotonic() + 300
        while not list(out.glob("finished/*.json")):
            assert sweep.poll() is None, sweep.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        filler = leave_free(small_disk, 0)
        said, _ = sweep.communicate(timeout=300)
    kept = {path: path.read_bytes() for path in out.glob("finished/*.json")}
    assert sweep.returncode == 1
    assert "no space left" in said.lower()
    assert "Traceback" not in said
    assert len([line for line in said.splitlines() if line.startswith("Error: ")]) == 1, said
    assert 1 <= len(kept) < 4
    assert "RUNNING" not in {run.info.status for run in runs_in(tmp_path / "mlflow.db")}

    filler.unlink()
    done = fused_clip(*words, output_dir=out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"4 cells: [1-3] finished already and reused", done.stdout)
    assert {path: path.read_bytes() for path in kept} == kept
