from collections.abc import Callable
from pathlib import Path

import pytest

from fused_clip import resume
from fused_clip.config import check
from tests.test_config import composed


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
    resume.keep(tmp_path, "k", directory, "id1", {"figures": "2000 points"})
    return directory


def test_a_finished_cell_is_found_with_all_that_it_measured(tmp_path: Path, run: Path) -> None:
    metrics = {"test/accuracy": 0.5, "seconds/total": 2.0}
    assert resume.find(tmp_path, "k", {}, anywhere) == resume.Finished(run, "id1", metrics)
    assert resume.find(tmp_path, "other", {}, anywhere) is None


@pytest.mark.parametrize("name", ["metrics.json", "timings.json", "config.yaml", "figures/tsne.png"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{}")])
def test_a_cell_without_all_its_files_whole_is_missing(
    tmp_path: Path, run: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(run / name)
    assert resume.find(tmp_path, "k", {}, anywhere) is None


def test_files_that_are_no_results_may_change(tmp_path: Path, run: Path) -> None:
    for name in (".hydra/config.yaml", "fused_clip.log", "record.json"):
        (run / name).unlink()
    assert resume.find(tmp_path, "k", {}, anywhere)


def test_what_is_asked_for_now_must_be_there(tmp_path: Path, run: Path) -> None:
    assert resume.find(tmp_path, "k", {"figures": "2000 points"}, anywhere)
    assert resume.find(tmp_path, "k", {"figures": "500 points"}, anywhere) is None
    assert resume.find(tmp_path, "k", {"embeddings": "fused"}, anywhere) is None


def test_a_run_must_be_recorded_where_runs_are_recorded_now(tmp_path: Path, run: Path) -> None:
    asked = []
    assert resume.find(tmp_path, "k", {}, lambda run_id: bool(asked.append(run_id))) is None
    assert asked == ["id1"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"directory": "/x"}'])
def test_a_note_that_can_not_be_read_is_none(tmp_path: Path, run: Path, text: str) -> None:
    (tmp_path / "finished" / "k.json").write_text(text)
    assert resume.find(tmp_path, "k", {}, anywhere) is None


def key(*overrides: str, data: str = "d", backbone: str = "b") -> str:
    return resume.cell_key(check(composed(*overrides)), data, backbone)


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
    ],
)
def test_places_and_extras_do_not_decide_the_key(change: str) -> None:
    assert key(change) == key()


def test_data_backbone_and_code_decide_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({key(), key(data="other"), key(backbone="other")}) == 3
    before = key()
    monkeypatch.setattr(resume, "METHOD_VERSION", resume.METHOD_VERSION + 1)
    assert key() != before


def test_code_from_elsewhere_decides_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "their_own_prompts.py"
    module.write_text("def strategy(dataset): ...\n")
    theirs = "prompt._target_=their_own_prompts.strategy"
    before = key(theirs)
    assert key(theirs) == before
    module.write_text("def strategy(dataset): return 1\n")
    assert key(theirs) != before
