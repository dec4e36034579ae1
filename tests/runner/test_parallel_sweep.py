"""A sweep whose cells run side by side, against the same sweep one cell after the other."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.forks import completed
from tests.test_run import FAST, PIXELS

GRID = ["prompt=task,none", "clusters_per_target=2,900"]
CELLS = [*FAST, *GRID, "dataset.n_train=400", "dataset.n_test=100", "resume=false", PIXELS, "allow=[tests]"]


def records(cwd: Path, sweep: str) -> list[dict[str, Any]]:
    """What became of each cell."""
    return [json.loads(path.read_text()) for path in sorted(cwd.glob(f"outputs/{sweep}/[0-9]*/record.json"))]


def findings(record: dict[str, Any]) -> dict[str, float]:
    """Metrics without times."""
    times = ("seconds/", "images_per_second")
    return {name: value for name, value in record["metrics"].items() if not name.startswith(times)}


def embedded_in(sweep: list[dict[str, Any]]) -> int:
    """Cells that had something to embed."""
    return sum("images_per_second" in record["metrics"] for record in sweep)


@pytest.mark.slow
def test_cells_side_by_side_find_what_they_find_one_by_one(tmp_path: Path) -> None:
    together = completed("-m", *CELLS, "hydra/launcher=joblib", "hydra.sweep.dir=outputs/two", cwd=tmp_path)
    alone = completed("-m", *CELLS, "hydra.sweep.dir=outputs/one", cwd=tmp_path)
    for done in (together, alone):
        assert done.returncode == 1, "two of the cells fail"
        assert "4 jobs" in done.stdout
        assert done.stdout.count("FAILED") >= 2
    side_by_side, one_by_one = records(tmp_path, "two"), records(tmp_path, "one")
    assert [bool(record["error"]) for record in one_by_one] == [False, True, False, True]
    for ours, theirs in zip(side_by_side, one_by_one, strict=True):
        assert ours["axes"] == theirs["axes"]
        assert ours["error"] == theirs["error"]
        assert findings(ours) == pytest.approx(findings(theirs), rel=1e-6)

    assert 1 <= embedded_in(side_by_side) <= 2, "train and test images are embedded once each"
    assert embedded_in(one_by_one) == 0

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    experiment = client.get_experiment_by_name("fused_clip")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run.info.run_id for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run.data.tags.get("mlflow.parentRunId") for run in runs]
    assert sorted(children.count(parent) for parent in parents) == [2, 2], (
        "what fails its checks opens no run"
    )
