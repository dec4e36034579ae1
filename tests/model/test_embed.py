from pathlib import Path

import numpy as np
import pytest

import fused_clip
from fused_clip.backbone import OpenClipBackbone
from fused_clip.support.errors import InputError
from tests.models import pictures
from tests.tiny_clip import save_tiny_clip


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> OpenClipBackbone:
    clip = save_tiny_clip(tmp_path_factory.mktemp("clip"))
    return OpenClipBackbone(f"local-dir:{clip}", precision="float32", device="cpu", batch_size=2)


def test_images_and_texts_are_embedded_as_by_the_backbone(backbone: OpenClipBackbone) -> None:
    images, texts = pictures(5)[0], ["a cat", "a dog"]
    rows = fused_clip.embed_images(images, backbone)
    np.testing.assert_array_equal(rows, backbone.encode_images(images))
    np.testing.assert_array_equal(fused_clip.embed_images(images[0], backbone), rows[0])
    found = fused_clip.embed_texts(texts, backbone)
    np.testing.assert_array_equal(found, backbone.encode_texts(texts))
    np.testing.assert_array_equal(fused_clip.embed_texts("a cat", backbone), found[0])
    assert fused_clip.embed_images([], backbone).shape == (0, rows.shape[1])


def test_the_default_backbone_ships_with_the_package(tmp_path: Path) -> None:
    image, text = fused_clip.embed_images(pictures(1)[0][0]), fused_clip.embed_texts("a digit")
    assert image.shape == text.shape == (OpenClipBackbone("compact").dim,)
    np.testing.assert_array_equal(image, fused_clip.embed_images(pictures(1)[0], "compact")[0])


@pytest.mark.parametrize("name", ["vit_b_23", "precomputed", "../backbone/compact"])
def test_an_unknown_backbone_is_named(name: str) -> None:
    with pytest.raises(
        InputError, match=r"backbone: must name a backbone of conf/backbone.*compact, open, vit_b_16"
    ):
        fused_clip.embed_texts("a cat", name)


def test_an_embedding_that_is_no_number_is_refused(backbone: OpenClipBackbone) -> None:
    class Broken:
        dim, batch_size = 3, 4

        def prepare(self, images: list[np.ndarray]) -> list[np.ndarray]:
            return images

        def encode_prepared(self, prepared: list[list[np.ndarray]]) -> np.ndarray:
            return np.full((sum(map(len, prepared)), 3), np.nan, np.float32)

    with pytest.raises(InputError, match="images: the embedding of an image is not finite, or zero"):
        fused_clip.embed_images(pictures(2)[0], Broken())
