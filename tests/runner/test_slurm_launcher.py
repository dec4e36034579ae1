"""Sweeps that Slurm runs, from the command to the table; programs of this folder stand for Slurm's."""

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlparse

import pytest
from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient
from mlflow.entities import Run
from omegaconf import DictConfig

from fused_clip import InputError
from fused_clip.runner import cell
from fused_clip.runner.in_process import composed
from fused_clip.runner.shares import run_share
from fused_clip.runner.shares_launcher import shares_launcher
from fused_clip.runner.targets import check_hydra
from fused_clip.tracking.runs import MlflowTracker
from hydra_plugins.fused_clip_launchers.slurm_launcher import SlurmLauncher
from tests import fake_slurm
from tests.databases import with_database
from tests.forks import QUICK, ROOT, Commands

SWEEP = ("-m", "hydra/launcher=slurm", "seed=0,1,2", *QUICK)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("submitit")
    folder = fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", fake_slurm.path_with(folder))
    return folder


@pytest.fixture
def hydra_as_it_was() -> Iterator[None]:
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


def config_of(*words: str, folder: Path) -> DictConfig:
    with composed([*words, f"output_dir={folder}"]) as config:
        return config


def rows(folder: Path, query: str) -> list[tuple[str, ...]]:
    """Ask the tracking database, of which a client of this process may hold an older state."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return list(database.execute(query))


def statuses(folder: Path) -> Counter[tuple[str, str]]:
    found = rows(folder, "select name, status from runs")
    return Counter(("sweep" if name.startswith("sweep-") else "cell", status) for name, status in found)


def parent_of(folder: Path) -> Run:
    ((run_id,),) = rows(folder, "select run_uuid from runs where name like 'sweep-%'")
    return MlflowClient(f"sqlite:///{folder}/mlflow.db").get_run(run_id)


@pytest.mark.parametrize(
    ("cells_per_task", "tasks", "cells", "size"),
    [
        (None, 100, 10, 1),
        (None, 100, 100, 1),
        (None, 100, 101, 2),
        (7, 100, 10, 7),
        (None, None, 5, 1),
        (None, 2, 0, 1),
    ],
)
def test_cells_are_divided_by_the_tasks(
    cells_per_task: int | None, tasks: int | None, cells: int, size: int
) -> None:
    assert SlurmLauncher(cells_per_task, tasks).size(cells) == size


@pytest.mark.parametrize("value", [0, -1, "ten", True, 1.5])
def test_numbers_of_tasks_are_checked(value: object) -> None:
    with pytest.raises(
        InputError, match=r"hydra.launcher.tasks: must be a number greater than or equal to 1, got"
    ):
        SlurmLauncher(tasks=value)  # type: ignore[arg-type]


@pytest.mark.usefixtures("hydra_as_it_was")
def test_the_launcher_of_the_config_has_its_options(tmp_path: Path) -> None:
    words = ["hydra/launcher=slurm", "hydra.launcher.setup=[module load x]", "+hydra.launcher.extra.nice=5"]
    config = config_of(*words, "hydra.launcher.minutes=7", folder=tmp_path)
    check_hydra(config.hydra)
    launcher = shares_launcher(config)
    assert launcher is not None
    options = launcher.engine
    assert (options.minutes, options.setup, options.extra) == (7, ["module load x"], {"nice": 5})
    assert not launcher.wait
    assert shares_launcher(config_of(folder=tmp_path)) is None


@pytest.mark.usefixtures("hydra_as_it_was")
def test_what_can_not_be_submitted_is_refused(slurm: Path, tmp_path: Path) -> None:
    config = config_of("hydra/launcher=slurm", "hydra.sweeper.max_batch_size=4", folder=tmp_path)
    launcher = SlurmLauncher(cells_per_task=2)
    with pytest.raises(
        InputError, match=r"max_batch_size: must be null: all cells .*got 4. hydra.launcher.wait=true"
    ):
        launcher.check_sweep(config, 8)
    with pytest.raises(
        InputError, match=r"hydra.sweeper: must be one that plans all cells in advance, got 'hydra"
    ):
        launcher.check_sweep(config, 0)
    SlurmLauncher(wait=True).check_sweep(config, 0)
    fits = config_of("hydra/launcher=slurm", folder=tmp_path)
    launcher.check_sweep(fits, 400)
    with pytest.raises(
        InputError, match=r"cells_per_task: must be at least 3: an array has at most 200 tasks here"
    ):
        launcher.check_sweep(fits, 401)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "hydra.launcher.partition=cpus",
            "Error: hydra.launcher.partition: must be a partition of this cluster",
        ),
        ("hydra.launcher.minutes=no", "Error: hydra.launcher.minutes: must be a valid integer, got 'no'"),
        (
            "seed=range(201)",
            "Error: hydra.launcher.cells_per_task: must be at least 2: an array has at most 200",
        ),
        ("hydra.sweeper.max_batch_size=1", "Error: hydra.sweeper.max_batch_size: must be null"),
    ],
)
def test_errors_come_in_a_line_and_leave_no_run(
    commands: Commands, slurm: Path, tmp_path: Path, word: str, message: str
) -> None:
    words = (*SWEEP, "hydra.launcher.cells_per_task=1", word, f"output_dir={tmp_path}/out")
    done = commands("run", *words, env={"PATH": os.environ["PATH"]})
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(message)
    assert not done.traceback
    assert not (tmp_path / "out" / "mlflow.db").exists()
    assert not list((tmp_path / "out").rglob("cells.json"))


@pytest.mark.slow
@pytest.mark.usefixtures("hydra_as_it_was")
def test_a_sweep_goes_on_without_its_command(
    commands: Commands, slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    env = {"PATH": os.environ["PATH"]}
    (slurm / "hold").touch()
    out = with_database(tmp_path / "out")
    done = commands("run", *SWEEP, "hydra.launcher.tasks=2", f"output_dir={out}", env=env)
    assert done.code == 0, done.said
    (directory,) = (out / "sweeps").glob("*/*")
    assert f"The sweep in {directory} runs as Slurm array 10." in done.out
    for command in ("status", "collect", "resubmit"):
        assert f"fused-clip-sweep {command} {directory}\n" in done.out
    assert statuses(out) == {("sweep", "RUNNING"): 1}
    MlflowTracker(out).close_abandoned()
    assert statuses(out) == {("sweep", "RUNNING"): 1}, "its process is gone, and Slurm runs it"

    def sweep(command: str, *words: str) -> tuple[int | None, str]:
        done = commands("sweep", command, directory, *words, env=env, cwd=tmp_path)
        return done.code, done.said

    code, said = sweep("status")
    assert (code, said.splitlines()) == (
        0,
        [
            "3 cells in 2 shares: 0 finished, 0 running, 3 pending, 0 failed, 0 missing",
            "share    1          10_0  pending     2 pending",
            "share    2          10_1  pending     1 pending",
        ],
    )
    code, said = sweep("collect")
    assert code == 1
    assert "It still runs as Slurm array 10, and stays open." in said
    code, said = sweep("resubmit")
    assert code == 1
    assert (
        f"Error: directory: has 2 tasks in the queue of Slurm (10_0, 10_1), got '{directory}'. Wait" in said
    )
    assert statuses(out) == {("sweep", "RUNNING"): 1}

    run_share(str(directory), 1)
    (slurm / "queue").write_text("")
    _leave_a_run(out)
    assert statuses(out)["cell", "RUNNING"] == 1
    code, said = sweep("collect")
    assert code == 1
    assert "FAILED" in said
    assert "it has not run yet" in said
    assert f"1 cells failed or are missing. Run them: fused-clip-sweep resubmit {directory}" in said
    assert statuses(out) == {("sweep", "FAILED"): 1, ("cell", "FINISHED"): 2, ("cell", "KILLED"): 1}

    code, said = sweep("resubmit", "minutes=5", "hydra.launcher.partition=long")
    assert code == 0, said
    assert "runs as Slurm arrays 10, 11." in said
    script = (slurm / "job-11").read_text()
    assert "#SBATCH --time=5\n" in script
    assert "#SBATCH --partition=long\n" in script
    assert "--array" not in script
    assert statuses(out)["sweep", "RUNNING"] == 1
    run_share(str(directory), 2)
    (slurm / "queue").write_text("")
    for _ in range(2):
        code, said = sweep("collect")
        assert code == 0, said
        assert "3 jobs" in said
        assert statuses(out) == {("sweep", "FINISHED"): 1, ("cell", "FINISHED"): 3, ("cell", "KILLED"): 1}
    code, said = sweep("resubmit")
    assert (code, said) == (0, "All cells are finished: nothing is left to submit.\n")
    _check_table(out)


def _leave_a_run(out: Path) -> None:
    """A run of a task whose machine stopped: no process of this machine."""
    parent = parent_of(out)
    tags = {key: parent.data.tags[key] for key in ("sweep_id", "process")}
    MlflowClient(f"sqlite:///{out}/mlflow.db").create_run(
        parent.info.experiment_id, tags=tags, run_name="lost"
    )


def _check_table(out: Path) -> None:
    place = urlparse(str(parent_of(out).info.artifact_uri)).path
    table = json.loads((Path(place) / "sweep.json").read_text())
    assert [row[table["columns"].index("seed")] for row in table["data"]] == ["0", "1", "2"]


@pytest.mark.slow
def test_the_command_may_wait_for_the_array(commands: Commands, slurm: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    words = (
        *SWEEP,
        "hydra.launcher.wait=true",
        "hydra.launcher.cells_per_task=2",
        f"output_dir={tmp_path}/out",
    )
    with_database(tmp_path / "out")
    done = commands("run", *words, env=env)
    assert done.code == 0, done.said
    assert "3 jobs" in done.out
    assert statuses(tmp_path / "out") == {("sweep", "FINISHED"): 1, ("cell", "FINISHED"): 3}
    (directory,) = (tmp_path / "out" / "sweeps").glob("*/*")
    collected = commands("sweep", "collect", directory, env=env)
    assert collected.code == 0
    assert "3 jobs" in collected.out


@pytest.mark.slow
@pytest.mark.usefixtures("hydra_as_it_was")
@pytest.mark.parametrize("resume", ["null", "false"])
def test_a_cell_killed_before_its_record_has_one_run(
    commands: Commands, slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: str
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    (slurm / "hold").touch()
    words = (*SWEEP, "seed=0,1", f"resume={resume}", "hydra.launcher.tasks=1", f"output_dir={tmp_path}/out")
    with_database(tmp_path / "out")
    assert commands("run", *words, env={"PATH": os.environ["PATH"]}).code == 0
    (directory,) = (tmp_path / "out" / "sweeps").glob("*/*")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cell, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            run_share(str(directory), 1)
    assert statuses(tmp_path / "out")["cell", "FINISHED"] == 1
    run_share(str(directory), 1)
    assert statuses(tmp_path / "out")["cell", "FINISHED"] == 2
    assert '"reused_from": ""' in (directory / "0" / "record.json").read_text()
