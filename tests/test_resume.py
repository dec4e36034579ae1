from pathlib import Path

import pytest

from fused_clip import resume
from fused_clip.config import check
from tests.test_config import composed


def test_a_finished_cell_is_found_while_its_files_are_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.json").write_text('{"test/accuracy": 0.5}')
    assert resume.find(tmp_path, "k") is None
    resume.keep(tmp_path, "k", run)
    assert resume.find(tmp_path, "k") == resume.Finished(run, {"test/accuracy": 0.5})
    assert resume.find(tmp_path, "other") is None
    (run / "metrics.json").unlink()
    assert resume.find(tmp_path, "k") is None


def key(*overrides: str, data: str = "d", backbone: str = "b") -> str:
    return resume.cell_key(check(composed(*overrides)), data, backbone)


@pytest.mark.parametrize(
    "change", ["seed=1", "prompt=none", "dataset.n_train=100", "clusterer.n_neighbors=9", "fusion=weighted"]
)
def test_what_decides_the_result_decides_the_key(change: str) -> None:
    assert key(change) != key()


@pytest.mark.parametrize("change", ["output_dir=elsewhere", "study=other", "tracking=none", "resume=true"])
def test_places_do_not_decide_the_key(change: str) -> None:
    assert key(change) == key()


def test_data_backbone_and_code_decide_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({key(), key(data="other"), key(backbone="other")}) == 3
    before = key()
    monkeypatch.setattr(resume, "METHOD_VERSION", resume.METHOD_VERSION + 1)
    assert key() != before
