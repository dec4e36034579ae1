"""Results read back from a run's directory."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import fusion
from fused_clip.method.prompt import none, task
from fused_clip.model.result import Result
from fused_clip.pipeline import run
from fused_clip.runner import artifacts
from fused_clip.store import Store
from fused_clip.support.errors import InputError
from tests.fakes import FakeBackbone
from tests.runner.test_config import composed
from tests.test_pipeline import method, references_of

NAMES = {
    "train_images": "train-120",
    "test_images": "test-60",
    "backbone_fingerprint": "fake-1",
    "prompt": "task",
}


def finished(toy: ImageDataset, directory: Path, embeddings: Any, *overrides: str, **params: Any) -> Result:
    """Run on stored embeddings and leave the files of a run; give the result but for its classifier."""
    directory.mkdir()
    prompts = none(toy) if params.pop("without_text", False) else task(toy)
    backbone = FakeBackbone()
    store = Store(directory.parent / "store")
    parts = method(**params)
    result = run(toy, prompts, backbone, store, parts, references=references_of(toy), names=NAMES)
    (directory / "config.yaml").write_text(OmegaConf.to_yaml(composed(*overrides)))
    artifacts.write(result, directory, seed=0, embeddings=embeddings)
    artifacts.write_metrics(result, directory)
    return dataclasses.replace(result, head=None)


def assert_same(left: Any, right: Any) -> None:
    for field in dataclasses.fields(left):
        ours, theirs = getattr(left, field.name), getattr(right, field.name)
        if dataclasses.is_dataclass(ours):
            assert_same(ours, theirs)
        elif field.name == "reference_predictions":
            np.testing.assert_equal(theirs, ours)
        elif isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype, field.name
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
        else:
            assert ours == theirs, field.name


@pytest.mark.parametrize("embeddings", ["fused", "keys"])
@pytest.mark.parametrize(
    ("overrides", "params"),
    [
        ([], {}),
        (["prompt=none"], {"without_text": True}),
        (["fusion=weighted", "fusion.alpha=0.3"], {"fusion": fusion.weighted(0.3)}),
        (
            ["fusion.normalize_inputs=true", "fusion.normalize_output=true"],
            {"fusion": fusion.LinearFusion(normalize_inputs=True, normalize_output=True)},
        ),
        (
            ["fusion=concatenation", "fusion.alpha=0.3", "fusion.normalize_output=true"],
            {"fusion": fusion.Concatenation(normalize_output=True, alpha=0.3)},
        ),
    ],
    ids=["mean", "no text", "weighted", "normalised", "concatenated"],
)
def test_a_result_is_read_back_as_it_was(
    toy: ImageDataset, tmp_path: Path, embeddings: str, overrides: list[str], params: dict[str, Any]
) -> None:
    result = finished(toy, tmp_path / "run", embeddings, *overrides, **params)
    assert_same(artifacts.read(tmp_path / "run", tmp_path / "store"), result)


def test_keys_take_little_room_and_a_sample_is_filled_up(
    toy: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MAX_ROWS", 30)
    result = finished(toy, tmp_path / "run", "fused")
    assert_same(artifacts.read(tmp_path / "run", tmp_path / "store"), result)
    artifacts.write(result, tmp_path / "run", seed=0, embeddings="keys")
    with np.load(tmp_path / "run" / "embeddings.npz") as arrays:
        assert not [name for name in arrays if "fused" in name]


def test_rows_that_are_no_longer_stored_are_told(toy: ImageDataset, tmp_path: Path) -> None:
    finished(toy, tmp_path / "run", "keys")
    for shard in (tmp_path / "store").glob("images-*/rows-*.npy"):
        shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=r"store: must have intact embeddings of these rows"):
        artifacts.read(tmp_path / "run", tmp_path / "store")


@pytest.mark.parametrize(
    "name", ["metrics.json", "timings.json", "predictions.parquet", "embeddings.npz", "result.json"]
)
def test_a_damaged_file_of_a_run_is_named(toy: ImageDataset, tmp_path: Path, name: str) -> None:
    result = finished(toy, tmp_path / "run", "fused")
    artifacts.write_checksums(tmp_path / "run")
    assert_same(artifacts.read(tmp_path / "run", tmp_path / "store"), result)
    content = bytearray((tmp_path / "run" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "run" / name).write_bytes(content)
    with pytest.raises(InputError, match=f"^run: is damaged: {name} differs from its checksum"):
        artifacts.read(tmp_path / "run", tmp_path / "store")
