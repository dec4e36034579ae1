import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.model.result import Result
from fused_clip.runner import artifacts
from fused_clip.runner.config import check
from fused_clip.support.conf import conf_dir
from fused_clip.support.versions import code_version
from tests.conftest import Blobs
from tests.runner.test_config import composed
from tests.test_pipeline import run


@pytest.fixture
def result(toy: ImageDataset, blobs: Blobs) -> Result:
    return run(toy, blobs)


def test_predictions_hold_a_row_an_image(result: Result, tmp_path: Path) -> None:
    artifacts.write(result, tmp_path, seed=0, embeddings="fused")
    table = pd.read_parquet(tmp_path / "predictions.parquet")
    assert table["split"].value_counts().to_dict() == {"train": 120, "test": 60}
    test = table[table["split"] == "test"]
    assert (test["predicted"] == test["target"]).mean() == result.metrics["test/accuracy"]
    assert test["row_id"].tolist() == list(result.test.ids)
    assert (test["margin"] >= 0).all()


def test_each_test_row_has_what_the_references_predict_for_it(result: Result, tmp_path: Path) -> None:
    artifacts.write(result, tmp_path, seed=0, embeddings="fused")
    table = pd.read_parquet(tmp_path / "predictions.parquet")
    test = table[table["split"] == "test"]
    for name in ("zero_shot", "image_only", "linear_probe", "rotated_text"):
        agreed = (test[f"reference/{name}"] == test["target"]).mean()
        assert agreed == result.metrics[f"reference/{name}_accuracy"]
        assert table.loc[table["split"] == "train", f"reference/{name}"].isna().all()


def test_embeddings_hold_the_fused_rows(result: Result, tmp_path: Path) -> None:
    artifacts.write(result, tmp_path, seed=0, embeddings="fused")
    with np.load(tmp_path / "embeddings.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["train_fused"], result.train.fused)
        np.testing.assert_array_equal(arrays["test_clusters"], result.test.clusters)
        assert arrays["target_names"].tolist() == list(result.target_names)


@pytest.mark.parametrize(
    ("asked", "job", "kept"),
    [
        ("auto", True, "keys"),
        ("auto", False, "fused"),
        ("keys", False, "keys"),
        ("fused", True, "fused"),
    ],
)
def test_what_is_kept_can_be_had_again(toy: ImageDataset, asked: str, job: bool, kept: str) -> None:
    options = check(composed(f"output.embeddings={asked}"))
    assert artifacts.kept_embeddings(options, toy, job=job) == kept
    vectors = Vectors(np.ones((120, 4), np.float32), tuple(map(str, range(120))))
    brought = dataclasses.replace(toy, train=dataclasses.replace(toy.train, images=vectors))
    assert artifacts.kept_embeddings(options, brought, job=job) == "fused", "the store has no vectors"


def extras_of(toy: ImageDataset, *overrides: str) -> dict[str, str]:
    return artifacts.extras(check(composed("output.embeddings=keys", *overrides)), toy, job=True)


def test_extras_follow_from_the_code_that_writes_and_draws(
    toy: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = extras_of(toy)
    assert extras_of(toy) == before
    known = code_version
    for module, entry in (("figures", "figures"), ("runner/artifacts", "files")):

        def changed(modules: tuple[str, ...], module: str = module) -> str:
            return "changed" if module in modules else known(modules)

        monkeypatch.setattr(artifacts, "code_version", changed)
        now = extras_of(toy)
        assert {name for name in now if now[name] != before[name]} == {entry}
        assert "figures" not in extras_of(toy, "figures.enabled=false")


def test_extras_name_each_reference(toy: ImageDataset) -> None:
    names = {f"reference/{path.stem}" for path in conf_dir().glob("reference/*.yaml")}
    found = extras_of(toy)
    assert {name for name in found if name.startswith("reference/")} == names
    some = extras_of(toy, "reference=[zero_shot,linear_probe]")
    assert some.items() < found.items()
    assert {"reference/zero_shot", "reference/linear_probe"} < set(some)
    assert not [name for name in extras_of(toy, "references.enabled=false") if name.startswith("reference/")]


def test_large_splits_are_sampled(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "MAX_ROWS", 30)
    artifacts.write(result, tmp_path, seed=0, embeddings="fused")
    with np.load(tmp_path / "embeddings.npz") as arrays:
        rows = arrays["train_rows"]
        assert len(rows) == 30
        np.testing.assert_array_equal(arrays["train_fused"], result.train.fused[rows])
        assert np.bincount(arrays["train_targets"]).tolist() == [10, 10, 10]


def test_metrics_are_flat_numbers_apart_from_timings(result: Result, tmp_path: Path) -> None:
    timings = {"seconds/fit": 0.25, "images_per_second": 90.0}
    scores = {name: value for name, value in result.metrics.items() if not name.startswith("seconds/")}
    artifacts.write_metrics(dataclasses.replace(result, metrics={**scores, **timings}), tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == scores
    assert json.loads((tmp_path / "timings.json").read_text()) == timings
    assert artifacts.read_metrics(tmp_path) == scores | timings


def test_a_number_that_json_lacks_is_refused(result: Result, tmp_path: Path) -> None:
    broken = dataclasses.replace(result, metrics={"test/accuracy": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        artifacts.write_metrics(broken, tmp_path)
