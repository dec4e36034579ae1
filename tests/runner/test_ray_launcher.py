"""Sweeps whose cells run on Ray: they end as those of one machine do."""

import importlib.util
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient
from mlflow.entities import Run

from fused_clip import InputError
from fused_clip.engine.ray_tasks import RayTasks
from fused_clip.runner.in_process import composed
from fused_clip.runner.jobs import planned_jobs
from fused_clip.runner.outcomes import read_record, read_records, record
from fused_clip.runner.shares import write_cells
from fused_clip.runner.shares_launcher import shares_launcher
from fused_clip.runner.targets import check_hydra
from hydra_plugins.fused_clip_launchers.ray_launcher import RayLauncher
from tests.databases import with_database
from tests.forks import QUICK, Commands

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="without fused_clip[ray]")
SWEEP = ("-m", "hydra/launcher=ray", *QUICK)


@pytest.fixture(autouse=True)
def _hydra_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


def runs(folder: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "fused_clip"]
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def statuses(folder: Path) -> Counter[str]:
    return Counter(run.info.status for run in runs(folder))


def test_the_launcher_of_the_config_has_its_options(tmp_path: Path) -> None:
    words = [
        "hydra/launcher=ray",
        "hydra.launcher.gpus=.5",
        "+hydra.launcher.env.A=b",
        f"output_dir={tmp_path}",
    ]
    with composed([*words, "hydra.launcher.cells_per_task=3"]) as config:
        check_hydra(config.hydra)
        launcher = shares_launcher(config)
        assert launcher
        assert type(launcher).__name__ == "RayLauncher", "Hydra runs its plugins' modules anew"
        assert launcher.engine == RayTasks(gpus=0.5, env={"A": "b"})
        assert launcher.size(100) == 3
    with pytest.raises(InputError, match=r"hydra.launcher.cells_per_task: must be a number greater than or"):
        RayLauncher(cells_per_task=0)


class _Engine(RayTasks):
    """Runs one cell of a share, whose task then dies."""

    def run(
        self,
        call: Callable[[int], None],
        numbers: Sequence[int],  # type: ignore[override]
        name: str,
        batches: bool = False,
        ended: Callable[[int, str], None] | None = None,
    ) -> dict[int, str]:
        (directory,) = call.args  # type: ignore[attr-defined]
        own = Path(directory) / "0"
        own.mkdir()
        record(own, ["seed=0"], metrics={"test/accuracy": 0.5})
        assert ended
        ended(1, "its worker died")
        return {1: "its worker died"}


def test_a_task_that_died_is_a_failure_of_its_cells(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with composed(
        [*QUICK, "seed=0,1", f"output_dir={tmp_path}"], hydra=["++hydra.callbacks.sweep.parent=''"]
    ) as config:
        directory = Path(config.hydra.sweep.dir)
        launcher = RayLauncher(cells_per_task=2)
        launcher.engine = _Engine()
        launcher.run_shares(directory, write_cells(config, planned_jobs(config), 2))
    finished, failed = read_records(directory)
    assert (finished["metrics"], finished["error"]) == ({"test/accuracy": 0.5}, "")
    assert (failed["axes"]["seed"], failed["error"]) == ("1", "its worker died")
    assert "Ray: a task failed: its worker died" in caplog.text


@needs_ray
@pytest.mark.slow
def test_a_cluster_that_is_not_there_leaves_no_run(commands: Commands, tmp_path: Path) -> None:
    words = ("seed=0,1", "hydra.launcher.address=127.0.0.1:1", f"output_dir={tmp_path}/out")
    done = commands("run", *SWEEP, *words)
    assert done.code == 1
    assert done.err.startswith(
        "Error: hydra.launcher.address: no Ray cluster answers there (Connection refused)"
    )
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out" / "mlflow.db").exists()
    assert not list((tmp_path / "out").rglob("cells.json"))


@needs_ray
@pytest.mark.slow
def test_a_sweep_on_ray_ends_as_one_on_this_machine(commands: Commands, tmp_path: Path) -> None:
    swept = ("dataset.n_train=200,99999", "seed=0", "hydra.launcher.at_once=1")
    out = with_database(tmp_path / "out")
    done = commands("run", *SWEEP, *swept, f"output_dir={out}", timeout=300)
    assert done.code == 1, done.said
    assert not done.traceback
    assert "2 jobs" in done.out
    assert "FAILED" in done.out
    assert statuses(out) == {"FINISHED": 1, "FAILED": 1}, "a cell; the sweep; the other never opened one"
    (cell,) = [run for run in runs(out) if run.info.status == "FINISHED"]
    assert cell.data.tags["command"] == " ".join([*SWEEP, *swept, f"output_dir={out}"])
    (directory,) = (out / "sweeps").glob("*/*")
    here = commands(
        "run", "-m", *QUICK, *swept[:2], f"output_dir={tmp_path}/here", "tracking=none", timeout=300
    )
    assert here.code == 1
    (other,) = (tmp_path / "here" / "sweeps").glob("*/*")
    for name in ("0/predictions.parquet", "0/model/arrays.safetensors"):
        assert (directory / name).read_bytes() == (other / name).read_bytes()


@needs_ray
@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(commands: Commands, tmp_path: Path) -> None:
    out = with_database(tmp_path / "out")
    words = [*SWEEP, "seed=range(12)", "hydra.launcher.at_once=1", f"output_dir={out}"]
    once = ("tests.forks:signal_when", [f"{out}/**/record.json", int(signal.SIGINT), False])
    done = commands("run", *words, before=[once], timeout=300)
    assert done.code == 130, done.said
    assert not done.traceback
    (directory,) = (out / "sweeps").glob("*/*")
    finished = sum(not one["error"] for one in filter(None, map(read_record, directory.glob("*/"))))
    assert 0 < finished < 12
    found = statuses(out)
    assert found["FINISHED"] in (finished, finished + 1), "one may end between its run and its record"
    assert not found["RUNNING"]
