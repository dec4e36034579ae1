"""A model of a tiny CLIP, and the page's part that answers with it."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fused_clip.app.studio import Studio
from fused_clip.app.uploads import Upload
from fused_clip.method.classifier import ZeroShot
from tests.models import pictures, save_model


def png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def uploads(count: int, *, seed: int = 1) -> list[Upload]:
    """Pictures as a browser sends them."""
    return [Upload.of(f"{n:02}.png", png(image)) for n, image in enumerate(pictures(count, seed=seed)[0])]


def names(files: Sequence[Upload]) -> list[str]:
    return [upload.name for upload in files]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a model with 60 calibration rows."""
    return save_model(tmp_path_factory.mktemp("run"), held_out=60)


@pytest.fixture(scope="session")
def studio(run: Path) -> Studio:
    return Studio.load(str(run), "cpu")


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A zero-shot model, which takes any target by a sentence."""
    folder = save_model(tmp_path_factory.mktemp("words"), classifier=ZeroShot(), held_out=60)
    return Studio.load(str(folder), "cpu")
