"""The comparison of faulty runs with one machine's finds what is lost, doubled or different."""

import json
import random
import shutil
from pathlib import Path

import pytest

from experiments.cluster.comparison import Cell, compare_runs, compare_stores, compare_sweeps, records_of
from experiments.cluster.fault_plan import FULL, QUICK
from experiments.cluster.kinds_of_faults import Repairs, SharedFaults
from fused_clip.runner import artifacts
from fused_clip.runner.outcomes import record
from tests.results import make_result

CELLS: list[Cell] = [("prompt=task", "seed=0"), ("prompt=task", "seed=1")]


def _sweep(root: Path) -> Path:
    result = make_result()
    for number, cell in enumerate(CELLS):
        directory = root / str(number)
        directory.mkdir(parents=True)
        artifacts.write(result, directory, seed=0, embeddings="fused")
        artifacts.write_metrics(result, directory)
        (directory / "config.yaml").write_text(f"output_dir: {root}\nseed: {number}\n")
        artifacts.write_checksums(directory)
        record(directory, list(cell), metrics={**result.metrics, "seconds/total": float(len(str(root)))})
    return root


def test_equal_sweeps_in_other_folders_do_not_differ(tmp_path: Path) -> None:
    right, own = _sweep(tmp_path / "right"), _sweep(tmp_path / "elsewhere")
    assert list(records_of(right)) == CELLS
    assert not compare_sweeps(right, [own], CELLS)


@pytest.mark.parametrize("name", ["predictions.parquet", "result.json", "embeddings.npz"])
def test_one_byte_is_found(tmp_path: Path, name: str) -> None:
    right, own = _sweep(tmp_path / "right"), _sweep(tmp_path / "own")
    content = bytearray((own / "1" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (own / "1" / name).write_bytes(content)
    found = compare_sweeps(right, [own], CELLS)
    assert found.differing == {CELLS[1]}
    assert not found.lost


def test_a_file_that_is_missing_or_too_many_is_found(tmp_path: Path) -> None:
    right, own = _sweep(tmp_path / "right"), _sweep(tmp_path / "own")
    (own / "0" / "predictions.parquet").unlink()
    (own / "1" / "more.txt").write_text("more")
    assert compare_sweeps(right, [own], CELLS).differing == set(CELLS)


def test_an_option_that_differs_is_found(tmp_path: Path) -> None:
    right, own = _sweep(tmp_path / "right"), _sweep(tmp_path / "own")
    (own / "0" / "config.yaml").write_text("output_dir: x\nseed: 7\n")
    artifacts.write_checksums(own / "0")
    assert compare_sweeps(right, [own], CELLS).differing == {CELLS[0]}


def test_a_cell_without_a_good_record_is_lost_unless_a_later_sweep_has_it(tmp_path: Path) -> None:
    right, own, again = (_sweep(tmp_path / name) for name in ("right", "own", "again"))
    (own / "0" / "record.json").unlink()
    record(own / "1", list(CELLS[1]), error="disk full")
    assert compare_sweeps(right, [own], CELLS).lost == set(CELLS)
    assert not compare_sweeps(right, [own, again], CELLS)
    assert not compare_sweeps(right, [again, own], CELLS)


def test_entries_that_differ_are_found_and_their_time_is_not_compared(tmp_path: Path) -> None:
    for name in ("right", "own"):
        folder = tmp_path / name / "images-1"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"created": name, "complete": True}))
        (folder / "rows.npy").write_bytes(b"rows")
    right, own = tmp_path / "right", tmp_path / "own"
    assert not compare_stores(right, own)
    (own / "images-1" / "rows.npy").write_bytes(b"ROWS")
    shutil.copytree(own / "images-1", own / "images-2")
    found = compare_stores(right, own)
    assert (found.differing, found.doubled) == ({"images-1/rows.npy"}, {"images-2"})
    shutil.rmtree(own)
    assert compare_stores(right, own).lost == {"images-1"}


@pytest.mark.slow
def test_runs_of_a_tracking_store_are_counted(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    from fused_clip.tracking.values import chart_name

    right, uri = _sweep(tmp_path / "right"), f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("fused_clip")
    scores = artifacts.read_metrics(right / "0")

    def log(cell: Cell, status: str = "FINISHED", **changes: float) -> None:
        run = client.create_run(experiment, tags={"overrides": "\n".join(("dataset=toy", *cell))})
        for name, value in {**scores, **changes}.items():
            client.log_metric(run.info.run_id, chart_name(name), value)
        if status != "RUNNING":
            client.set_terminated(run.info.run_id, status)

    log(CELLS[0])
    log(CELLS[0], "KILLED")
    assert compare_runs(uri, right, CELLS).lost == {CELLS[1]}
    log(CELLS[1], **{"test/accuracy": 0.123})
    assert compare_runs(uri, right, CELLS).differing == {CELLS[1]}
    log(CELLS[0])
    log(CELLS[1], "RUNNING")
    found = compare_runs(uri, right, CELLS)
    assert (found.doubled, found.lost) == ({CELLS[0]}, {CELLS[1]})


def test_the_plan_has_200_faults_over_680_cells_and_is_drawn_from_its_seed() -> None:
    assert sum(sum(kinds.values()) for kinds in FULL.plan.values()) == 200
    assert len(FULL.grid(0, FULL.seeds).cells) == 680
    for where, kinds in FULL.plan.items():
        drawn = FULL.faults(where, 0)
        assert drawn == FULL.faults(where, 0) != FULL.faults(where, 1)
        assert sorted(kind for _, kind in drawn) == sorted(k for k, n in kinds.items() for _ in range(n))
        assert [moment for moment, _ in drawn] == sorted(moment for moment, _ in drawn)
    assert QUICK.plan.keys() == FULL.plan.keys()


def test_repairs_wait_for_their_time_and_are_tried_again() -> None:
    repairs, tries = Repairs(), iter([False, True])
    done = []
    repairs.add("later", 1e6, lambda: done.append("later"))
    repairs.add("node", 0.0, lambda: next(tries))
    repairs.run()
    assert repairs.out_of_order("node")
    repairs.run()
    assert (repairs.out_of_order("node"), done) == (False, [])
    repairs.run(all_now=True)
    assert done == ["later"]


def test_a_server_is_killed_and_started_again() -> None:
    said = []

    class Server:
        def kill(self) -> None:
            said.append("kill")

        def start(self) -> None:
            said.append("start")

    repairs = Repairs()
    faults = SharedFaults(random.Random(0), repairs, Path(), {"server": Server()})
    assert not faults.server("other")
    assert faults.server("server")
    assert not faults.server("server")
    repairs.run(all_now=True)
    assert said == ["kill", "start"]
