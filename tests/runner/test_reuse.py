import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import fused_clip
from fused_clip.dataset.image_dataset import ImageDataset, Split
from fused_clip.method import prompt
from fused_clip.method.prompt import Prompts
from fused_clip.runner import reuse
from fused_clip.runner.build import make_parts
from fused_clip.runner.cell import GROUPS, Cell
from fused_clip.runner.config import build, check
from fused_clip.store import Store
from fused_clip.tracking import NoTracker
from tests.conftest import ArrayRows, make_dataset
from tests.runner.test_config import composed


def anywhere(run_id: str) -> bool:
    return True


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory of a finished cell with key ``k`` and figures."""
    directory = tmp_path / "run"
    (directory / "figures").mkdir(parents=True)
    (directory / ".hydra").mkdir()
    (directory / "metrics.json").write_text('{"test/accuracy": 0.5}')
    (directory / "timings.json").write_text('{"seconds/total": 2.0}')
    for name in ("config.yaml", "figures/tsne.png", ".hydra/config.yaml", "fused_clip.log", "record.json"):
        (directory / name).write_text(name)
    reuse.keep(tmp_path, "k", directory, "id1", {"figures": "2000 points"})
    return directory


def test_a_finished_cell_is_found_with_all_that_it_measured(tmp_path: Path, run: Path) -> None:
    metrics = {"test/accuracy": 0.5, "seconds/total": 2.0}
    assert reuse.find(tmp_path, "k", {}, anywhere) == reuse.Finished(run, "id1", metrics)
    assert reuse.find(tmp_path, "other", {}, anywhere) is None


@pytest.mark.parametrize("name", ["metrics.json", "timings.json", "config.yaml", "figures/tsne.png"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{}")])
def test_a_cell_without_all_its_files_whole_is_missing(
    tmp_path: Path, run: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(run / name)
    assert reuse.find(tmp_path, "k", {}, anywhere) is None


def test_a_note_of_another_cell_is_none(tmp_path: Path, run: Path) -> None:
    (note,) = (tmp_path / "finished").glob("*.json")
    note.rename(note.with_name(note.name.replace("k-", "l-")))
    assert reuse.find(tmp_path, "l", {}, anywhere) is None


def test_a_damaged_note_is_none(tmp_path: Path, run: Path) -> None:
    (note,) = (tmp_path / "finished").glob("*.json")
    text = note.read_text()
    for wrong in (text.replace("id1", "id3"), text[:-9], "[]", "{}"):
        note.write_text(wrong)
        assert reuse.find(tmp_path, "k", {}, anywhere) is None
    note.unlink()
    os.mkfifo(note)
    assert reuse.find(tmp_path, "k", {}, anywhere) is None


def test_a_note_of_an_earlier_version_is_read(tmp_path: Path, run: Path) -> None:
    (note,) = (tmp_path / "finished").glob("*.json")
    known = json.loads(note.read_text())
    note.write_text(json.dumps({key: known[key] for key in ("directory", "run_id", "extras", "files")}))
    assert reuse.find(tmp_path, "k", {}, anywhere) is not None


def test_files_that_are_no_results_may_change(tmp_path: Path, run: Path) -> None:
    for name in (".hydra/config.yaml", "fused_clip.log", "record.json"):
        (run / name).unlink()
    assert reuse.find(tmp_path, "k", {}, anywhere)


def test_what_is_asked_for_now_must_be_there(tmp_path: Path, run: Path) -> None:
    assert reuse.find(tmp_path, "k", {"figures": "2000 points"}, anywhere)
    assert reuse.find(tmp_path, "k", {"figures": "500 points"}, anywhere) is None
    assert reuse.find(tmp_path, "k", {"embeddings": "fused"}, anywhere) is None


def test_a_run_must_be_recorded_where_runs_are_recorded_now(tmp_path: Path, run: Path) -> None:
    asked = []
    assert reuse.find(tmp_path, "k", {}, lambda run_id: bool(asked.append(run_id))) is None
    assert asked == ["id1"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"directory": "/x"}'])
def test_a_note_that_can_not_be_read_is_none(tmp_path: Path, run: Path, text: str) -> None:
    (note,) = tmp_path.glob("finished/k-*.json")
    note.write_text(text)
    assert reuse.find(tmp_path, "k", {}, anywhere) is None


def run_again(tmp_path: Path, run: Path) -> Path:
    """Another run of the cell, without figures."""
    again = Path(shutil.copytree(run, tmp_path / "again"))
    shutil.rmtree(again / "figures")
    reuse.keep(tmp_path, "k", again, "id2", {})
    return again


def test_a_run_that_came_to_nothing_hides_no_other(tmp_path: Path, run: Path) -> None:
    """It is noted before it is FINISHED; what was finished before still is."""
    run_again(tmp_path, run)
    found = reuse.find(tmp_path, "k", {}, lambda run_id: run_id == "id1")
    assert found
    assert found.directory == run


def test_each_place_where_runs_are_recorded_has_its_own(tmp_path: Path, run: Path) -> None:
    again = run_again(tmp_path, run)
    for run_id, directory in (("id1", run), ("id2", again), ("id1", run)):
        found = reuse.find(tmp_path, "k", {}, lambda recorded, here=run_id: recorded == here)
        assert found
        assert (found.run_id, found.directory) == (run_id, directory)


def test_of_several_runs_the_newest_that_has_what_is_asked_for_stands(tmp_path: Path, run: Path) -> None:
    again = run_again(tmp_path, run)
    for note in tmp_path.glob("finished/k-*.json"):
        os.utime(note, (1, 2 if "id2" in note.read_text() else 1))
    newest, drawn = (
        reuse.find(tmp_path, "k", extras, anywhere) for extras in ({}, {"figures": "2000 points"})
    )
    assert newest
    assert newest.directory == again
    assert drawn
    assert drawn.directory == run


def test_runs_of_one_cell_that_end_at_once_are_both_noted(tmp_path: Path, run: Path) -> None:
    directories = [Path(shutil.copytree(run, tmp_path / str(number))) for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda path: reuse.keep(tmp_path, "j", path, path.name, {}), directories))
    for path in directories:
        assert reuse.find(tmp_path, "j", {}, lambda run_id, name=path.name: run_id == name)


def test_what_a_reused_cell_needs_of_the_store_stays_in_use(tmp_path: Path, run: Path) -> None:
    """It holds keys of its embeddings, which are pruned when they are not used for long."""
    cfg = composed(
        "dataset=digits", "backbone._target_=tests.fakes.PixelBackbone", "allow=[tests]", "tracking=none"
    )
    options = check(cfg)
    dataset, backbone = make_parts(options)
    Store(tmp_path / "store").images(backbone, dataset.train.images, dataset.train.rows)
    (manifest,) = tmp_path.glob("store/images-*/manifest.json")
    os.utime(manifest, (1, 1))
    (tmp_path / "job").mkdir()
    choices = dict.fromkeys(GROUPS, "any")
    cell = Cell(options, cfg, tmp_path / "job", tmp_path, choices, [], job=True)
    cell._reuse(NoTracker(), reuse.Finished(run, "id1", {}))
    assert manifest.stat().st_mtime > 1e9


DATASET = make_dataset([[0, 1, 2], [0, 1, 2]])


PROMPTS = prompt.task(DATASET)


def key(
    *overrides: str, dataset: ImageDataset = DATASET, prompts: Prompts = PROMPTS, backbone: str = "b"
) -> str:
    return reuse.cell_key(check(composed(*overrides)), dataset, prompts, backbone)


@pytest.mark.parametrize(
    "change", ["seed=1", "prompt=none", "dataset.n_train=100", "clusterer.n_neighbors=9", "fusion=weighted"]
)
def test_what_decides_the_result_decides_the_key(change: str) -> None:
    assert key(change) != key()


@pytest.mark.parametrize(
    "change",
    [
        "output_dir=elsewhere",
        "study=other",
        "tracking=none",
        "resume=true",
        "figures.enabled=false",
        "output.embeddings=keys",
        "reference=zero_shot",
    ],
)
def test_places_and_extras_do_not_decide_the_key(change: str) -> None:
    assert key(change) == key()


def test_data_backbone_and_code_decide_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_dataset([[0, 1, 1], [0, 1, 2]])
    assert len({key(), key(dataset=other), key(backbone="other")}) == 3
    before = key()
    monkeypatch.setattr(reuse, "code_version", lambda modules: "other")
    assert key() != before


def test_a_changed_file_of_texts_decides_the_key(tmp_path: Path) -> None:
    """The options hold its path alone."""
    file = tmp_path / "texts.yaml"
    override = f"prompt.file={file}"
    keys = set()
    for text in ("a cat", "a kitten", "a cat"):
        file.write_text(f"cat: [{text}]\ndog: [a dog]\ntruck: [a truck]\n")
        made = build(check(composed("prompt=descriptions", override)).prompt, dataset=DATASET)
        keys.add(key("prompt=descriptions", override, prompts=made))
    assert len(keys) == 2


@dataclass(frozen=True)
class Renamed(ArrayRows):
    """The same images by other names."""

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        return [f"renamed/{row}" for row in rows]


@pytest.mark.parametrize("name", ["train", "test"])
def test_the_names_of_rows_and_of_what_was_skipped_decide_the_key(name: str) -> None:
    """They stand in what a run leaves."""
    split: Split = getattr(DATASET, name)
    named = replace(split, images=Renamed(name, len(split)))
    renamed = replace(DATASET, train=named) if name == "train" else replace(DATASET, test=named)
    skipping = replace(DATASET, skipped=("broken.png",))
    assert renamed.fingerprint == skipping.fingerprint == DATASET.fingerprint
    assert len({key(), key(dataset=renamed), key(dataset=skipping)}) == 3


def test_code_from_elsewhere_decides_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "their_own_prompts.py"
    module.write_text("def strategy(dataset): ...\n")
    theirs = "prompt._target_=their_own_prompts.strategy", "allow=[their_own_prompts]"
    before = key(*theirs)
    assert key(*theirs) == before
    module.write_text("def strategy(dataset): return 1\n")
    assert key(*theirs) != before


def test_every_package_that_computes_a_result_decides_the_key() -> None:
    """A module that comes to the package is named here, or in the list of those that compute nothing."""
    root = Path(fused_clip.__file__).parent
    modules = [path for path in root.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    entries = {path.stem for path in modules}
    computing = {"audit", "estimator", "pipeline", "method", "metrics", "model"}
    with_own_fingerprint = {"dataset", "backbone", "store"}
    others = {"__init__", "app", "figures", "guarantee", "predict", "report", "review", "run", "runner"}
    others |= {"embed", "engine", "support", "testing", "tracking"}
    assert entries == computing | with_own_fingerprint | others
    assert set(reuse._CODE) == computing | {"backbone/learnable"}  # learns, and changes no embedding
    assert (root / "backbone" / "learnable.py").is_file()


@pytest.mark.parametrize("name", [".", "nul\0", "a" * 300], ids=range(3))
def test_a_note_of_files_that_can_not_be_is_none(tmp_path: Path, run: Path, name: str) -> None:
    (note,) = tmp_path.glob("finished/k-*.json")
    facts = json.loads(note.read_text())
    note.write_text(json.dumps({**facts, "files": {name: "0" * 64}}))
    assert reuse.find(tmp_path, "k", {}, anywhere) is None


@pytest.mark.parametrize("content", ["", "[]", '{"test/accuracy": "much"}', "{"])
def test_a_note_of_metrics_that_can_not_be_read_is_none(tmp_path: Path, run: Path, content: str) -> None:
    (note,) = tmp_path.glob("finished/k-*.json")
    facts = json.loads(note.read_text())
    note.write_text(json.dumps({**facts, "files": {}}))
    (run / "metrics.json").write_text(content)
    assert reuse.find(tmp_path, "k", {}, anywhere) is None


def test_the_folder_of_notes_is_listed_again_only_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep of 100,000 cells looks for a note of each, among as many."""
    folder, listed = tmp_path / "finished", []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: listed.append(place) or scandir(place))

    def finished(key: str) -> bool:
        return reuse.find(tmp_path, key, {}, lambda _: True) is not None

    def settle() -> None:
        os.utime(folder, times=(0, time.time() - 60))

    assert not finished("a")
    directory = tmp_path / "run"
    directory.mkdir()
    for name in ("metrics.json", "timings.json"):
        (directory / name).write_text("{}")
    reuse.keep(tmp_path, "a", directory, "", {})
    for _ in range(3):  # another note may follow within the same tick of the clock
        assert finished("a")
    assert listed.count(folder) == 3
    settle()
    assert [finished(key) for key in ("a", "b", "a", "c")] == [True, False, True, False]
    assert listed.count(folder) == 4
    reuse.keep(tmp_path, "b", directory, "", {})
    assert [finished(key) for key in ("a", "b")] == [True, True]
    assert listed.count(folder) == 6
