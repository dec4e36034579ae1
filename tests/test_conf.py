"""Every option of every group, found by discovery and held to its group's contract."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fused_clip.runner.config import Options
from fused_clip.support.conf import conf_dir
from fused_clip.testing import check_option, options_of

OPTIONS = options_of("fused_clip")
# A model is loaded, or thousands of steps are taken.
SLOW = ("backbone=compact", "backbone=open", "clusterer=turtle", "text=coop", "text=upl")
# Of options that are for files or texts of the user's.
NEEDED = {
    "prompt=custom": "prompt.templates=['a photo of a {{}}']",
    "dataset=imagefolder": "dataset.root={folder}/photos",
    "dataset=csv": "dataset.path={folder}/photos.csv",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of two classes in folders, and a table of them."""
    place, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    rows = ["path,label"]
    for name in ("cat", "dog"):
        (place / "photos" / name).mkdir(parents=True)
        for number in range(12):
            file = place / "photos" / name / f"{number}.png"
            Image.fromarray(rng.integers(0, 255, (6, 9, 3), np.uint8)).save(file)
            rows.append(f"photos/{name}/{number}.png,{name}")
    (place / "photos.csv").write_text("\n".join(rows) + "\n")
    return place


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")  # clear data are four graphs
@pytest.mark.parametrize(
    "option", [pytest.param(one, marks=[pytest.mark.slow] if one in SLOW else []) for one in OPTIONS]
)
def test_an_option_meets_the_contract_of_its_group(option: str, folder: Path) -> None:
    needed = [NEEDED[option].format(folder=folder)] if option in NEEDED else []
    check_option(option, "data_dir=null", *needed)


def test_options_are_found_in_every_folder() -> None:
    found = {option.partition("=")[0] for option in OPTIONS}
    assert {path.name for path in conf_dir().iterdir() if path.is_dir()} - {"hydra"} <= found
    assert len(OPTIONS) == len(list(conf_dir().glob("*/**/*.yaml"))) > 90


def test_each_group_has_a_schema() -> None:
    composed_alone = {"experiment", "reference", "report", "hydra"}
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert groups - composed_alone <= set(Options.model_fields)
