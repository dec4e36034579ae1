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

from experiments.open_backbone import fit
from experiments.open_backbone.fit import class_names, groups
from fused_clip.backbone.open_vocabulary import ASSETS, Alignment
from tests.attack.scale import FULL

CONF = Path(__file__).parents[3] / "experiments/open_backbone/conf"
#: The texts of all classes take half a minute. Of class 800 there is no description.
CLASSES = range(1000) if FULL else range(0, 1000, 20)


def test_groups_part_the_classes() -> None:
    members = groups()
    assert len(members) == 50
    assert sorted(number for numbers in members.values() for number in numbers) == list(range(1000))
    assert "Chihuahua" in {class_names()[i] for i in members["dog"]}


def test_the_command_finds_its_configuration() -> None:
    line = [sys.executable, "-m", "experiments.open_backbone.fit", "--cfg", "job", "photos=some.parquet"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=CONF.parents[2])
    assert {"photos: some.parquet", "temperature: 0.1"} <= set(done.stdout.splitlines())


@pytest.mark.slow
def test_the_command_writes_an_alignment_with_the_shipped_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = []
    for photo in load_sample_images().images:
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "PNG")
        cells.append({"bytes": file.getvalue(), "path": None})
    pd.DataFrame({"image": cells, "label": [0, 1]}).to_parquet(tmp_path / "photos.parquet")
    command = [
        "fit",
        f"--config-path={CONF}",
        f"photos={tmp_path / 'photos.parquet'}",
        "hydra/job_logging=none",
    ]
    folders = [f"export_dir={tmp_path / 'out'}", f"hydra.run.dir={tmp_path / 'run'}"]
    monkeypatch.setattr(sys, "argv", [*command, *folders])
    monkeypatch.setattr(fit, "CLASSES", CLASSES)
    fit.main()
    made = Alignment.read(tmp_path / "out" / "alignment.safetensors")
    shipped = Alignment.read(ASSETS / "alignment.safetensors")
    np.testing.assert_allclose(made.class_texts, shipped.class_texts[list(CLASSES)], atol=1e-5)
    assert made.temperature == shipped.temperature
    assert set(made.mean_features) == {160, 224}
    assert json.loads((tmp_path / "out" / "training.json").read_text())["trained_on"] == ["imagenet-1k/train"]
