"""Data and model of a run, made once for all cells of a process that share them."""

import functools
import os
from pathlib import Path

import numpy as np
import pytest

from fused_clip.dataset import ImageDataset, Labelled, Recipe
from fused_clip.dataset.images import ArrayImages
from fused_clip.runner import build
from fused_clip.runner.config import Options, check
from fused_clip.support.errors import InputError
from tests.conftest import make_dataset
from tests.runner.test_config import composed


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets an item whenever the dataset is made; without a root it is broken."""
    calls: list[str] = []

    def counted(name: str, root: str | None = None) -> ImageDataset:
        calls.append(name)
        if root is None:
            raise InputError("dataset.root", "must be there")
        return make_dataset([np.repeat(range(3), 4), np.repeat(range(3), 2)])

    monkeypatch.setattr("fused_clip.dataset.digits", counted)
    build._made.cache_clear()
    return calls


def options(*overrides: str) -> Options:
    fake = "backbone._target_=tests.fakes.FakeBackbone"
    return check(composed("dataset=digits", "dataset.root=x", "allow=[tests]", fake, *overrides))


def test_cells_of_the_same_data_share_them(made: list[str]) -> None:
    first, second = (build.make_parts(options(f"seed={seed}")) for seed in range(2))
    assert first[0] is second[0]
    assert made == ["digits"]
    build.make_parts(options("dataset.n_train=2"))
    build.make_parts(options("backbone.batch_size=2"))
    build.make_parts(options("data_dir=elsewhere"))
    assert len(made) == 4


@pytest.mark.usefixtures("made")
def test_a_model_that_a_cell_loads_is_not_kept_for_the_next() -> None:
    (_, first), (_, second) = (build.make_parts(options()) for _ in range(2))
    first.load()
    assert (first.loads, second.loads) == (1, 0)
    assert build.make_parts(options())[1].loads == 0


def test_what_is_wrong_is_found_once_and_told_to_each(made: list[str]) -> None:
    for _ in range(3):
        with pytest.raises(InputError, match=r"dataset\.root: must be there"):
            build.make_parts(options("dataset.root=null"))
    assert len(made) == 1


def test_only_some_are_kept(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_made", functools.lru_cache(maxsize=2)(build._made.__wrapped__))
    for n_train in (1, 2, 3, 2, 3, 1):
        build.make_parts(options(f"dataset.n_train={n_train}"))
    assert len(made) == 4


def test_a_folder_of_images_is_decoded_once_for_all_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    for name in ("train/a/0", "train/b/0", "test/a/0", "test/b/0"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{name}.png")
    opened: list[Path] = []
    read = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: (opened.append(Path(path)), read(path, *rest))[1])
    for seed in range(4):
        own = ["dataset=imagefolder", f"dataset.root={tmp_path}", f"seed={seed}"]
        dataset, _ = build.make_parts(check(composed(*own)))
    assert len(dataset.train) == 2
    assert sorted(path.suffix for path in opened if tmp_path in path.parents) == [".png"] * 4


def own_dataset(recipe: Recipe, *, side: int) -> ImageDataset:
    labels = np.arange(20) % 2
    pixels = np.full((20, side, side), labels[:, None, None] * 200, dtype=np.uint8)
    whole = Labelled(ArrayImages(pixels, "own"), labels, ("dark", "light"), "own")
    return recipe.make(recipe.used([whole]), "made here")


def test_a_dataset_of_the_users_takes_the_recipe_and_its_own_keys() -> None:
    target = f"dataset._target_={__name__}.own_dataset"
    dataset, _ = build.make_parts(
        options(
            target,
            "+dataset.side=3",
            "dataset.test_fraction=0.4",
            "dataset.n_train=6",
            "dataset.class_names=null",
            "dataset.groups=null",
        )
    )
    assert (len(dataset.train), len(dataset.test)) == (6, 8)
    assert dataset.class_names == ("dark", "light")
