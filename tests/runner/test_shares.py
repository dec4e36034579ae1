"""Shares of a sweep: whichever process runs them, each cell has one result."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fused_clip import InputError
from fused_clip.runner import shares
from fused_clip.runner.in_process import composed
from fused_clip.runner.jobs import planned_jobs
from fused_clip.runner.outcomes import record
from fused_clip.support.conf import conf_dir

WORDS = [
    "references.enabled=false",
    "figures.enabled=false",
    "tracking=none",
    "dataset=digits",
    "dataset.n_train=200",
    "dataset.n_test=50",
    "clusterer=kmeans",
    "backbone._target_=tests.fakes.PixelBackbone",
    "allow=[tests]",
]
SWEPT = ["prompt=task,none", "seed=0,1"]


@pytest.fixture
def config(tmp_path: Path) -> Iterator[DictConfig]:
    HydraConfig.instance().cfg = None
    words = [*WORDS, *SWEPT, f"output_dir={tmp_path}/out"]
    known = ["++hydra.callbacks.sweep.parent='the parent'", "++hydra.callbacks.sweep.sweep_id='1e5'"]
    with composed(words, [str(conf_dir())], hydra=known) as config:
        yield config


def written(config: DictConfig, size: int) -> Path:
    shares.write_cells(config, planned_jobs(config), size)
    return Path(config.hydra.sweep.dir)


def test_shares_are_ranges_of_cells_that_cover_all(config: DictConfig) -> None:
    jobs = planned_jobs(config)
    for size in range(1, 6):
        numbers = shares.write_cells(config, jobs, size)
        sweep = shares.read_cells(Path(config.hydra.sweep.dir))
        assert numbers == list(sweep.numbers)
        assert [cell for number in numbers for cell in sweep.share(number)] == [0, 1, 2, 3]
        assert max(len(sweep.share(number)) for number in numbers) == min(size, 4)
    assert (sweep.parent, sweep.sweep_id) == ("the parent", "1e5")
    with pytest.raises(InputError, match="share: must be from 1 to 1, got 0"):
        sweep.share(0)


def test_cells_of_a_later_batch_get_shares_of_their_own(config: DictConfig) -> None:
    jobs = planned_jobs(config)
    assert shares.write_cells(config, jobs[:3], 2) == [1, 2]
    assert shares.write_cells(config, jobs[3:], 2, first=3) == [3]
    sweep = shares.read_cells(Path(config.hydra.sweep.dir))
    assert [list(sweep.share(number)) for number in sweep.numbers] == [[0, 1], [2], [3]]
    assert sweep.cells == jobs


def test_a_share_runs_what_is_missing_or_failed(config: DictConfig) -> None:
    directory = written(config, 2)
    shares.run_share(str(directory), 1)
    first = (directory / "0" / "record.json").read_bytes()
    assert "test/accuracy" in json.loads(first)["metrics"]
    assert (directory / "0" / "fused_clip.log").is_file()
    record(directory / "1", ["seed=1"], error="the disk was full")
    (directory / "2").mkdir()
    counts = shares.count_cells(directory)
    assert [(one.finished, one.failed, one.begun, one.missing) for one in counts] == [
        (1, 1, 0, 0),
        (0, 0, 1, 1),
    ]
    errors = [one["error"] for one in shares.cell_records(directory)]
    assert errors == ["", "the disk was full", "the job was cut off", "it has not run yet"]
    shares.run_share(str(directory), 1)
    shares.run_share(str(directory), 2)
    assert (directory / "0" / "record.json").read_bytes() == first, "a finished cell is left alone"
    assert all(one.done for one in shares.count_cells(directory))
    rows = shares.cell_records(directory)
    assert [(row["axes"]["prompt"], row["axes"]["seed"]) for row in rows] == [
        ("task", "0"), ("task", "1"), ("none", "0"), ("none", "1"),
    ]  # fmt: skip


def test_a_failed_cell_does_not_stop_its_share(config: DictConfig, tmp_path: Path) -> None:
    directory = Path(config.hydra.sweep.dir)
    jobs = planned_jobs(config)
    bad = [*jobs[0], "clusters_per_target=90"]
    shares.write_cells(config, [bad, jobs[1]], 2)
    shares.run_share(str(directory), 1)
    errors = [one["error"] for one in shares.cell_records(directory)]
    assert errors[0].startswith("clusters_per_target: makes 900")
    assert errors[1] == ""


def test_the_task_sees_the_places_and_times_of_the_command(
    config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    with composed(["study=at-${now:%f}", "output_dir=relative"], [str(conf_dir())]) as dated:
        study = dated.study
        shares.write_cells(dated, [["seed=0"]], 1)
        directory = Path(dated.hydra.sweep.dir)
    monkeypatch.chdir(tmp_path)
    with shares.read_cells(directory).composed(directory) as again:
        assert again.study == study
        assert Path.cwd() == home
    assert Path.cwd() == tmp_path


def test_a_task_has_the_command_line_of_the_sweep(
    config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are tagged with it."""
    monkeypatch.setattr(sys, "argv", ["fused-clip", "-m", "seed=0,1"])
    directory = written(config, 4)
    monkeypatch.setattr(sys, "argv", ["a task of Slurm", "its folder"])
    seen: list[list[str]] = []

    def run_job(*_: object, **__: object) -> None:
        seen.append(list(sys.argv[1:]))

    monkeypatch.setattr(shares, "run_job", run_job)
    shares.run_share(str(directory), 1)
    assert seen == [["-m", "seed=0,1"]] * 4
    assert sys.argv == ["a task of Slurm", "its folder"]


def test_the_cells_of_a_sweep_must_be_intact(config: DictConfig, tmp_path: Path) -> None:
    directory = written(config, 2)
    with pytest.raises(InputError, match=r"directory: must be the directory .*: it has no cells.json, got"):
        shares.run_share(str(tmp_path), 1)
    path = directory / "cells.json"
    path.write_text(path.read_text().replace("seed=0", "seed=7"))
    with pytest.raises(
        InputError, match=r"directory: is damaged: cells.json \(it differs from its checksum\)"
    ):
        shares.run_share(str(directory), 1)


def test_a_machine_without_the_working_directory_is_named(config: DictConfig, tmp_path: Path) -> None:
    directory = written(config, 2)
    sweep = shares.read_cells(directory).model_copy(update={"cwd": str(tmp_path / "gone")})
    with (
        pytest.raises(InputError, match=r"working directory: must be .* this one lacks it"),
        sweep.composed(directory),
    ):
        pass


def test_the_config_of_a_task_is_that_of_the_command(config: DictConfig) -> None:
    directory = written(config, 2)
    with shares.read_cells(directory).composed(directory) as again:
        plain = [
            OmegaConf.masked_copy(one, [key for key in one if key != "hydra"]) for one in (config, again)
        ]
        assert plain[0] == plain[1]
        assert again.hydra.callbacks.sweep.parent == "the parent"


def test_a_machine_with_other_plugins_runs_no_share(
    config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "plugin_versions", lambda: {"more": "1.2"})
    directory = written(config, 2)
    for found, said in (({}, "none"), ({"more": "1.3"}, r"more 1\.3")):
        monkeypatch.setattr(shares, "plugin_versions", lambda found=found: found)
        with pytest.raises(InputError, match=rf"^plugins: .* of the command: more 1\.2, got '{said}'"):
            shares.run_share(str(directory), 1)
