"""``calibration.share``: a run holds images out, and its model keeps them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fused_clip import load_model
from fused_clip.store import Store
from tests.forks import completed
from tests.test_run import run_directories

CELL = ["dataset=digits", "dataset.n_train=200", "dataset.n_test=100", "clusterer=kmeans"]
CELL += ["figures.enabled=false", "tracking=none", "references.enabled=false"]


@pytest.mark.slow
def test_calibration_images_are_in_the_model_and_nowhere_else(tmp_path: Path) -> None:
    done = completed(*CELL, "calibration.share=.25", "calibration.seed=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (directory,) = run_directories(tmp_path)
    table = pd.read_parquet(directory / "predictions.parquet")
    assert table["split"].value_counts().to_dict() == {"train": 150, "test": 100}
    assert "150 train and 100 test rows" in done.stdout
    model = load_model(directory, embeddings_only=True)
    assert model.calibration is not None
    assert len(model.calibration) == model.facts.training.calibration_rows == 50
    assert model.facts.training.rows == 150
    assert (model.calibration.targets >= 0).all()
    store = Store(tmp_path / "outputs" / "store")
    with np.load(directory / "embeddings.npz") as arrays:
        keys = json.loads(str(arrays["store_keys"]))
        for split in ("train", "test"):
            rows = store.stored(
                keys[f"{split}_images"], keys["backbone_fingerprint"], arrays[f"{split}_store_rows"]
            )
            used = {row.tobytes() for row in np.asarray(rows, np.float32)}
            assert not used & {row.tobytes() for row in model.calibration.rows}

    again = completed(*CELL, "resume=true", cwd=tmp_path)
    assert "is finished already" not in again.stdout, "with another share it is another run"


def test_images_that_the_backbone_was_trained_on_are_refused(tmp_path: Path) -> None:
    done = completed("calibration.share=.2", "tracking=none", cwd=tmp_path)
    assert done.returncode == 1
    assert "calibration.share: needs images that the backbone was not trained on" in done.stderr
    assert "backbone=open" in done.stderr
    assert not run_directories(tmp_path)


@pytest.mark.parametrize("share", ["-.1", "1", ".95", "many"])
def test_a_share_is_checked_before_work(share: str, tmp_path: Path) -> None:
    done = completed(*CELL, f"calibration.share={share}", cwd=tmp_path)
    assert done.returncode == 1
    assert "calibration.share" in done.stderr
    assert "Traceback" not in done.stderr
