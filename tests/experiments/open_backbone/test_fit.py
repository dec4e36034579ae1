"""The recipe of the open backbone's alignment, and the tables of its page."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from experiments.open_backbone.fit import class_names, groups
from fused_clip.backbone.open_vocabulary import ASSETS, Alignment


def test_groups_part_the_classes() -> None:
    members = groups()
    assert len(members) == 50
    assert sorted(number for numbers in members.values() for number in numbers) == list(range(1000))
    assert "Chihuahua" in {class_names()[i] for i in members["dog"]}


@pytest.mark.slow
def test_the_command_writes_an_alignment_with_the_shipped_texts(tmp_path: Path) -> None:
    cells = []
    for photo in load_sample_images().images:
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "PNG")
        cells.append({"bytes": file.getvalue(), "path": None})
    pd.DataFrame({"image": cells, "label": [0, 1]}).to_parquet(tmp_path / "photos.parquet")
    command = ["-m", "experiments.open_backbone.fit", f"photos={tmp_path / 'photos.parquet'}"]
    folders = [f"export_dir={tmp_path / 'out'}", f"hydra.run.dir={tmp_path / 'run'}"]
    subprocess.run([sys.executable, *command, *folders], check=True)
    made = Alignment.read(tmp_path / "out" / "alignment.safetensors")
    shipped = Alignment.read(ASSETS / "alignment.safetensors")
    np.testing.assert_allclose(made.class_texts, shipped.class_texts, atol=1e-5)
    assert made.temperature == shipped.temperature
    assert set(made.mean_features) == {160, 224}
    assert json.loads((tmp_path / "out" / "training.json").read_text())["trained_on"] == ["imagenet-1k/train"]
