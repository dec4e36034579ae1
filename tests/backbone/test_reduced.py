"""Large JPEGs at reduced size: the same pixels wherever a model meets them, and keys that say so."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from fused_clip import load_model
from fused_clip.app.image_memory import ImageMemory
from fused_clip.app.uploads import Upload
from fused_clip.backbone import OpenClipBackbone, OpenVocabularyBackbone
from fused_clip.backbone.base import reduced_side
from fused_clip.backbone.batches import embed_images
from fused_clip.backbone.preprocessing import Preprocessing
from fused_clip.dataset.decode import decode
from fused_clip.dataset.image_dataset import Images, ReducibleImages
from fused_clip.dataset.image_index import write_index
from fused_clip.dataset.images import ArrayImages, EncodedImages, FileImages
from fused_clip.dataset.index_file import Listed, container
from fused_clip.embed.shard_work import RecordedImages
from fused_clip.model.pixels import embed_pixels
from fused_clip.predict.decoding import read
from fused_clip.predict.sources import Item
from fused_clip.support.arrays import FloatArray
from fused_clip.support.checksums import SUMS, write_sums
from fused_clip.tracking.shared_embedder import SharedEmbedder
from tests.fakes import FakeBackbone
from tests.models import save_model
from tests.tiny_clip import save_tiny_clip

SIDE = 64  # twice the input of the tiny model


def jpegs() -> list[bytes]:
    """Two photos of 427 x 640 pixels, and one too small to be reduced."""
    found = []
    for photo in (*load_sample_images().images, load_sample_images().images[0][:120, :200]):
        file = BytesIO()
        Image.fromarray(photo).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    for number, content in enumerate(jpegs()):
        (folder / f"{number}.jpg").write_bytes(content)
    return sorted(folder.iterdir())


def make(clip: Path, jpeg: str = "reduced") -> OpenClipBackbone:
    return OpenClipBackbone(f"local-dir:{clip}", precision="float32", device="cpu", batch_size=4, jpeg=jpeg)  # type: ignore[arg-type]


def in_files(files: list[Path]) -> FileImages:
    digests = (hashlib.sha256(file.read_bytes()).digest() for file in files)
    return FileImages(tuple(files), tuple(map(str, files)), tuple(digests))


def in_a_table(files: list[Path]) -> EncodedImages:
    cells = pa.array([file.read_bytes() for file in files], pa.large_binary())
    return EncodedImages([lambda: cells], [len(files)], "set")


def in_an_index(files: list[Path]) -> RecordedImages:
    folder = container(files[0].parent, "x/")
    entries = [Listed(folder, file.name, -1, file.stat().st_size) for file in files]
    return RecordedImages(write_index(files[0].parents[1] / "index", [folder, *entries]))


def dataset(
    make_images: Callable[[list[Path]], Images], backbone: OpenClipBackbone, files: list[Path]
) -> FloatArray:
    (rows,) = embed_images(backbone, make_images(files), [range(len(files))])
    return rows


def prediction(backbone: OpenClipBackbone, files: list[Path]) -> FloatArray:
    items = [Item(file.name, file.read_bytes, file) for file in files]
    batch = read(items, backbone.prepare, side=backbone.reduced_side)
    return backbone.encode_prepared(batch.pixels)


def contents(backbone: OpenClipBackbone, files: list[Path]) -> FloatArray:
    return embed_pixels([file.read_bytes() for file in files], backbone)


def server(backbone: OpenClipBackbone, files: list[Path]) -> FloatArray:
    return SharedEmbedder(backbone).embed(list(map(str, files)), [file.read_bytes() for file in files])


def page(backbone: OpenClipBackbone, files: list[Path]) -> FloatArray:
    uploads = [Upload.of(file.name, file.read_bytes()) for file in files]
    return np.stack([image.row for image in ImageMemory(backbone).look(uploads) if image.row is not None])


@pytest.mark.parametrize(
    "embed",
    [
        partial(dataset, in_files),
        partial(dataset, in_a_table),
        partial(dataset, in_an_index),
        prediction,
        contents,
        lambda backbone, files: embed_pixels(files, backbone),
        server,
        page,
    ],
    ids=["files", "table", "index", "prediction", "contents", "paths", "server", "page"],
)
def test_training_and_use_see_the_same_pixels(
    clip: Path, files: list[Path], embed: Callable[[OpenClipBackbone, list[Path]], FloatArray]
) -> None:
    reduced = [decode(content, side=SIDE) for content in jpegs()]
    assert [image.shape for image in reduced] == [(107, 160, 3), (107, 160, 3), (120, 200, 3)]
    whole = [decode(content) for content in jpegs()]
    for jpeg, images in (("reduced", reduced), ("whole", whole)):
        backbone = make(clip, jpeg)
        np.testing.assert_array_equal(embed(backbone, files), backbone.encode_images(images))


def test_what_an_index_read_is_recorded(files: list[Path]) -> None:
    images = in_an_index(files)
    list(images.reduced(SIDE).read(np.arange(len(files))))
    digests = [hashlib.sha256(file.read_bytes()).digest() for file in files]
    assert images.take(range(len(files))).tobytes() == b"".join(digests)


def test_a_backbone_that_states_no_side_and_images_without_files_are_left_alone(files: list[Path]) -> None:
    assert reduced_side(FakeBackbone()) is None
    assert not isinstance(ArrayImages(np.zeros((1, 8, 8), np.uint8), "set"), ReducibleImages)
    (rows,) = embed_images(FakeBackbone(), in_files(files), [range(len(files))])
    np.testing.assert_array_equal(rows, FakeBackbone().encode_images([decode(one) for one in jpegs()]))


def test_the_side_is_twice_the_largest_input(clip: Path) -> None:
    assert make(clip).reduced_side == SIDE
    assert make(clip, "whole").reduced_side is None
    assert OpenVocabularyBackbone(device="cpu").reduced_side == 448
    assert Preprocessing.from_config((160, 224), {}).reduced_side == 448


def test_reduced_images_have_keys_of_their_own(clip: Path) -> None:
    assert make(clip).fingerprint != make(clip, "whole").fingerprint
    assert make(clip).identity == make(clip, "whole").identity


def test_embeddings_of_photos_stay_where_they_were() -> None:
    backbone = OpenClipBackbone("compact", precision="float32", device="cpu")
    photos = jpegs()[:2]
    rows, others = (
        backbone.encode_images([decode(photo, side=side) for photo in photos])
        for side in (None, backbone.reduced_side)
    )
    cosines = (rows * others).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(others, axis=1)
    assert cosines.min() > 0.995


def test_a_model_keeps_the_pixels_that_it_was_made_with(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "run")
    backbone = load_model(folder, device="cpu").require_backbone()
    assert backbone.jpeg == "reduced"
    (stated,) = folder.rglob("model.json")
    facts = json.loads(stated.read_text())
    assert facts["backbone"].pop("jpeg") == "reduced"
    stated.write_text(json.dumps(facts))
    write_sums(stated.parent, [file.name for file in stated.parent.iterdir() if file.name != SUMS])
    earlier = load_model(folder, device="cpu").require_backbone()
    assert earlier.jpeg == "whole", "earlier versions decoded JPEGs whole, and did not state it"
