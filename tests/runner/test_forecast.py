"""What a sweep says of itself before it starts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from fused_clip.runner import artifacts, reuse
from fused_clip.runner import forecast as module
from fused_clip.runner.build import make_parts
from fused_clip.runner.config import build, check
from fused_clip.runner.console import print_forecast
from fused_clip.runner.forecast import Forecast, forecast
from fused_clip.runner.jobs import planned_jobs
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.tracking import NoTracker, Tracker
from tests.forks import shared

TASK = ["dataset=digits", "figures.enabled=false", "references.enabled=false"]


@pytest.fixture(autouse=True)
def hydra_running() -> Iterator[None]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


def sweep_config(*task: str) -> DictConfig:
    cfg = compose("config", return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.overrides.task = [*TASK, *task]
    return cfg


def expected(tmp_path: Path, *task: str) -> Forecast:
    return look(sweep_config(*task), NoTracker(), tmp_path)


def look(config: DictConfig, tracker: Tracker, tmp_path: Path) -> Forecast:
    return forecast(config, planned_jobs(config), tracker, tmp_path)


def finish(tmp_path: Path, *overrides: str) -> None:
    """Note a cell as finished."""
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    for name in ("metrics.json", "timings.json"):
        (run / name).write_text("{}")
    options = check(compose("config", overrides=["study=test", *TASK, *overrides]))
    dataset, backbone = make_parts(options)
    key, extras = (
        reuse.cell_key(options, dataset, build(options.prompt, dataset=dataset), backbone.fingerprint),
        artifacts.extras(options, dataset, job=True),
    )
    reuse.keep(tmp_path, key, run, "", extras)


def test_every_rotation_of_the_text_keeps_a_partition(tmp_path: Path) -> None:
    audited = "references.enabled=true"
    rows = 1_438  # training images
    once, often = (expected(tmp_path, audited, f"references.draws={draws}").need for draws in (1, 5))
    assert often - once == 8 * rows * 4


def test_finished_cells_take_no_disk(tmp_path: Path) -> None:
    before = expected(tmp_path, "seed=0,1")
    assert (before.cells, before.finished) == (2, 0)
    finish(tmp_path, "seed=0")
    after = expected(tmp_path, "seed=0,1")
    assert (after.cells, after.finished) == (2, 1)
    assert after.need < before.need
    assert expected(tmp_path, "seed=0,1", "resume=false").finished == 0
    finish(tmp_path, "seed=1")
    assert expected(tmp_path, "seed=0,1").need == 0


def test_embeddings_count_once_however_many_cells_need_them(tmp_path: Path) -> None:
    one, two, three = (expected(tmp_path, f"seed=range({n})").need for n in (1, 2, 3))
    a_cell = three - two
    embeddings = one - a_cell
    assert two - one == a_cell
    assert embeddings == 4 * 1_797 * 256


def test_fused_rows_figures_and_copies_count(tmp_path: Path) -> None:
    class Copying(NoTracker):
        copies_files = True

    plain = expected(tmp_path).need
    fused = expected(tmp_path, "output.embeddings=fused").need
    assert fused - plain == 4 * 1_797 * 256
    assert expected(tmp_path, "figures.enabled=true").need > plain
    assert look(sweep_config(), Copying(), tmp_path).need > plain


def test_cells_that_can_not_run_are_left_to_their_jobs(tmp_path: Path) -> None:
    made = expected(tmp_path, "clusters_per_target=2,-1", "dataset.n_train=null,9999999")
    assert (made.cells, made.finished) == (4, 0)
    assert 0 < made.need < 10_000_000


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["dataset.n_train=9999998,9999999"], r"dataset\.n_train: .*9999998"),
        (["seed=-1,-2"], r"seed: must be greater than or equal to 0, got -1"),
        (["seed=-1,0", "backbone.model=no_such_model"], r"seed: must be greater"),
    ],
)
def test_a_sweep_of_which_no_cell_can_run_is_refused(tmp_path: Path, axes: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        expected(tmp_path, *axes)


def test_a_part_that_fails_in_every_cell_is_named(tmp_path: Path) -> None:
    part = "tests.runner.test_forecast.broken"
    with pytest.raises(InputError, match=rf"dataset: {part} failed \(ZeroDivisionError\)"):
        expected(tmp_path, "seed=0,1", "allow=[tests]", f"dataset._target_={part}")


def broken() -> NoReturn:
    raise ZeroDivisionError


def test_a_sweeper_that_decides_as_it_goes_has_no_forecast(tmp_path: Path) -> None:
    cfg = sweep_config()
    cfg.hydra.sweeper._target_ = "hydra.plugins.sweeper.Sweeper"
    assert look(cfg, NoTracker(), tmp_path).cells == 0


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["prompt=grouped", "dataset.groups=null", "seed=0,1"], "groups"),
        (["vote=prompt", "seed=0,1"], "^vote: 'prompt' needs a pairing without labels"),
        (["clusters_per_target=999", "seed=0,1"], "^clusters_per_target: makes 9990 clusters"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_once(
    tmp_path: Path, axes: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        expected(tmp_path, *axes)
    assert len(str(caught.value).splitlines()) == 1


def test_notes_are_collected_once(tmp_path: Path) -> None:
    custom = "prompt.texts={0: zebra, 1: b, 2: c, 3: d, 4: e, 5: f, 6: g, 7: h, 8: i, 9: j}"
    notes = expected(tmp_path, "prompt=custom", custom, "seed=0,1,2").notes
    assert len(notes) == len(set(notes)) == 2
    assert "was not trained on the words" in notes[1][1]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    Forecast(cells=2, finished=0, need=10, free=10).check(tmp_path)
    with pytest.raises(InputError, match=rf"output_dir: .*2\.0 GB and 5 MB are free.*{tmp_path}"):
        Forecast(cells=2, finished=0, need=2_000_000_000, free=5_000_000).check(tmp_path)


@pytest.mark.slow
def test_a_sweep_takes_about_what_it_said(tmp_path: Path) -> None:
    common = ["-m", "prompt=task", "dataset=digits", "clusterer=kmeans"]
    common += ["backbone._target_=tests.fakes.PixelBackbone", "allow=[tests]"]
    places = {tracking: tmp_path / tracking for tracking in ("none", "mlflow")}
    runs = [[*common, f"tracking={tracking}", f"output_dir={place}"] for tracking, place in places.items()]
    done = [shared()("run", *words) for words in (*runs, *runs)]
    printed = "".join(one.said for one in done)
    assert [one.code for one in done] == [0] * 4, printed
    said = re.findall(
        r"1 cells: (\d) finished already and reused, (\d) to run; about (\d+) MB on disk", printed
    )
    assert [tuple(map(int, numbers)) for numbers in said[2:]] == [(1, 0, 0)] * 2
    assert printed.count("1 of 1 were finished already") == 2
    for place, (finished, to_run, megabytes) in zip(places.values(), said[:2], strict=True):
        assert (finished, to_run) == ("0", "1")
        took = sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) / 1e6
        assert 0.6 < took / int(megabytes) < 1.3


def test_many_cells_are_estimated_from_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = expected(tmp_path, "seed=range(12)")
    monkeypatch.setattr(module, "_MOST_PREPARED", 6)
    drawn = expected(tmp_path, "seed=range(12)")
    assert (drawn.cells, drawn.prepared, drawn.need) == (12, 6, whole.need)
    print_forecast(drawn, tmp_path)
    assert capsys.readouterr().out.endswith("(estimated from 6 cells)\n")
    assert expected(tmp_path, "seed=range(6)").prepared == 6
    with pytest.raises(InputError, match="clusters_per_target"):
        expected(tmp_path, "seed=range(12)", "clusters_per_target=0")


def test_every_cell_that_changes_hydra_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PREPARED", 1)
    assert expected(tmp_path, "hydra.verbose=false,true").prepared == 2
