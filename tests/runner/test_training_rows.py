"""Training rows of a finished run, read back."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fused_clip.runner.artifacts import read
from fused_clip.runner.training_rows import TrainingRows, run_directory
from fused_clip.store import Store
from fused_clip.support.errors import InputError
from tests.forks import QUICK, completed
from tests.small_runs import directory_of, small_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    done = completed(*QUICK, f"output_dir={root}/outputs", "tracking=none", cwd=root)
    assert done.returncode == 0, done.stderr
    return directory_of(root / "outputs")


def test_they_are_what_the_run_wrote(run: Path) -> None:
    training = TrainingRows.of(run, "explain")
    result = read(run, run.parents[2] / "store", ["tests"])
    table = pd.read_parquet(run / "predictions.parquet")
    assert training.ids == result.train.ids == tuple(table["row_id"][table["split"] == "train"])
    assert training.target_names == result.target_names
    for name in ("targets", "clusters", "prompts", "rows"):
        np.testing.assert_array_equal(getattr(training, name), getattr(result.train, name), err_msg=name)
    np.testing.assert_array_equal(training.texts, result.text_embeddings)
    assert training.labelled
    assert len(training) == len(result.train)
    pixels = training.dataset.train.images.read(training.rows)
    expected = np.stack([image[..., 0].ravel() for image in pixels]).astype(np.float32) + 1
    np.testing.assert_array_equal(training.images, expected)
    assert training.prompt_of_target is not None
    assert training.prompt_of_target.tolist() == list(range(10))


def test_the_dataset_is_that_of_the_run(run: Path) -> None:
    training = TrainingRows.of(run, "explain")
    assert tuple(training.dataset.train.images.ids(training.rows)) == training.ids


def test_the_nearest_store_that_has_the_rows_is_used(run: Path) -> None:
    """Another store between the run and its own, without these rows, is passed over."""
    other = run.parent / "store"
    Store(other).cached("some", {"a": 1}, lambda: {"b": np.ones(2)})
    assert len(TrainingRows.of(run, "explain").images) > 1000


def test_vectors_that_came_with_the_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(["cat", "dog"], 30)
    vectors = (rng.normal(size=(60, 8)) + 3 * (labels == "dog")[:, None]).astype(np.float32)
    np.savez(tmp_path / "vectors.npz", vectors=vectors, labels=labels)
    words = ("dataset=embeddings", f"dataset.path={tmp_path}/vectors.npz", "prompt=none", "clusterer=kmeans")
    quiet = ("references.enabled=false", "figures.enabled=false", "tracking=none")
    run = small_run(tmp_path, base=(*words, *quiet))
    training = TrainingRows.of(run, "explain")
    numbers = [int(name.rpartition("/")[2]) for name in training.ids]
    np.testing.assert_array_equal(training.images, vectors[numbers])
    assert [training.target_names[target] for target in training.targets] == labels[numbers].tolist()
    assert training.thumbnail(0) is None
    assert training.thumbnails([0, 1]) == {}


def test_images_held_out_for_calibration_are_no_training_rows(tmp_path: Path) -> None:
    words = ("calibration.share=.25", "backbone=compact", "dataset=digits")
    done = completed(*QUICK[1:4], *words, "tracking=none", f"output_dir={tmp_path}/outputs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    training = TrainingRows.of(directory_of(tmp_path / "outputs"), "explain")
    assert len(training) == len(set(training.ids)) == 1078
    assert (training.clusters >= 0).all()


@pytest.mark.parametrize("place", ["nothing", ".", "model"])
def test_a_place_without_a_run(tmp_path: Path, place: str) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match=r"run: needs the directory of a run, .* no predictions\.parquet"):
        run_directory(tmp_path / place, "run")


def test_the_folder_of_the_model_leads_to_its_run(run: Path) -> None:
    assert run_directory(run / "model", "run") == run == run_directory(str(run), "run")
