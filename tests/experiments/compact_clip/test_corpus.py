"""What the compact CLIP is trained on: rows, captions, pixels."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from experiments.compact_clip import corpus, data
from experiments.compact_clip.captions import KINDS, article, words
from experiments.compact_clip.data import Split, content_hashes, fingerprint, hold_out, load_split, without
from fused_clip.backbone.model_source import ASSETS
from fused_clip.support.errors import InputError
from tests.experiments.compact_clip.corpus import (
    CONCEPTS,
    make_settings,
    make_split,
    make_splits,
    many_captions,
    write_mirror,
)

DATA = os.environ.get("FUSED_CLIP_DATA")


def test_reserved_images_leave_the_split_by_their_pixels() -> None:
    split = make_split("mnist", 40, tuple("0123456789"))
    kept = without(split, split.images[[3, 17]].copy())
    np.testing.assert_array_equal(kept.images, np.delete(split.images, [3, 17], axis=0))
    np.testing.assert_array_equal(kept.labels, np.delete(split.labels, [3, 17]))


def reserved_among(noise: Split, reserved: np.ndarray) -> Split:
    """Reserved digits between the rows of a split of noise."""
    places = np.linspace(0, len(noise.labels), len(reserved)).astype(int)
    images = np.insert(noise.images, places, reserved, axis=0)
    return dataclasses.replace(noise, images=images, labels=np.insert(noise.labels, places, 0))


@pytest.mark.slow
def test_no_reserved_digit_is_in_the_corpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reserved = data.reserved_digits()
    splits = {split.name: split for split in make_splits()}
    splits["mnist"] = reserved_among(splits["mnist"], reserved[::500])
    monkeypatch.setattr(corpus, "find", lambda _: dict.fromkeys(splits, ()))
    monkeypatch.setattr(corpus, "load_split", lambda name, *_: splits[name])
    made = corpus.load_corpus(make_settings(tmp_path))
    rows = [*content_hashes(made.train[0].images), *content_hashes(made.held_out[0].images)]
    assert not set(rows) & set(content_hashes(reserved))
    assert (len(made.train[0].labels), len(made.held_out[0].labels)) == (36, 4)


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="needs FUSED_CLIP_DATA")
def test_the_data_that_the_shipped_weights_were_trained_on_are_these(tmp_path: Path) -> None:
    assert DATA is not None
    facts = json.loads((ASSETS / "compact" / "training.json").read_text())
    made = corpus.load_corpus(make_settings(tmp_path, data_dir=DATA, holdout=facts["recipe"]["holdout"]))
    if {split.name: len(split.labels) for split in made.train} != facts["rows"]:
        pytest.skip("FUSED_CLIP_DATA has other rows of CIFAR")
    assert made.fingerprint == facts["data_fingerprint"]
    rows = [digest for part in (made.train, made.held_out) for digest in content_hashes(part[0].images)]
    assert len(rows) == 55_000
    assert not set(rows) & set(content_hashes(data.reserved_digits()))


def test_held_out_rows_are_not_trained_on() -> None:
    split = make_split("cifar10", 30, ("cat", "dog"))
    rest, held = hold_out(split, 10, seed=0)
    assert not set(content_hashes(rest.images)) & set(content_hashes(held.images))
    assert (len(rest.labels), len(held.labels)) == (20, 10)
    with pytest.raises(InputError, match="holdout: must leave images to train on, and cifar10 has 30"):
        hold_out(split, 30, seed=0)


def test_a_set_is_read_as_the_hub_has_it(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path, make_splits())
    splits = [load_split(name, files) for name, files in data.find(mirror).items()]
    for split, written in zip(splits, make_splits(), strict=True):
        assert (split.name, split.class_names) == (written.name, written.class_names)
        np.testing.assert_array_equal(split.images, written.images)
        np.testing.assert_array_equal(split.labels, written.labels)
    assert splits[2].superclass_names == CONCEPTS.superclasses
    assert splits[2].superclass_of() == CONCEPTS.superclass_of
    assert fingerprint(splits) == fingerprint(make_splits())
    assert len(load_split("mnist", data.find(mirror)["mnist"], limit=7).images) == 7


def test_a_missing_set_is_told_before_work_starts(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path, make_splits()[:2])
    with pytest.raises(InputError, match=r"data_dir: the mirror must contain cifar100/train-\*.parquet"):
        data.find(mirror)


def test_a_class_without_an_image_is_named() -> None:
    splits = make_splits()
    splits[2] = splits[2].take(np.arange(2))
    message = "limit: must leave cifar100 an image of every class, and leaves none of crab, got 2"
    with pytest.raises(InputError, match=message):
        corpus.make_corpus(splits, splits[0].images[:0], holdout=1, seed=0)


def test_every_concept_has_a_caption_that_names_it() -> None:
    seen = many_captions()
    assert len(seen) == CONCEPTS.n_concepts
    assert {"This is a digit 3", "This is a digit three", "This is a digit 3 odd"} <= seen[3]
    assert {"This is a pickup_truck", "a photo of a pickup truck", "pickup truck"} <= seen[12]
    assert {"This is a airplane", "This is an airplane", "This is a airplane vehicle"} <= seen[10]
    even = seen[CONCEPTS.n_classes]
    assert {"This is a digit even", "an even digit", "This is an even number"} <= even
    animal = seen[CONCEPTS.n_concepts - len(KINDS) + KINDS.index("animal")]
    assert {"This is a animal", "This is an animal", "animals"} <= animal


def test_captions_stay_in_the_vocabulary_and_have_no_holes() -> None:
    vocabulary = set(CONCEPTS.vocabulary())
    for captions in many_captions(50):
        for caption in captions:
            assert set(words(caption)) <= vocabulary, caption
            assert "{" not in caption
            assert "  " not in caption


def test_article_follows_the_first_letter() -> None:
    assert [article(w) for w in ("8", "eight", "oak", "cat", "1")] == ["an", "an", "an", "a", "a"]


def test_contrasts_point_at_concepts_that_are_true_of_the_class() -> None:
    by_name = {contrast.name: contrast for contrast in CONCEPTS.contrasts()}
    assert by_name["parity"].target_of_class[:10] == (0, 1) * 5
    assert by_name["animal/vehicle"].target_of_class[10:] == (1, 0, 1, -1, 0)
    assert by_name["cifar10"].target_of_class == (-1,) * 10 + (0, 1, -1, -1, -1)
    for contrast in by_name.values():
        assert max(contrast.concepts) < CONCEPTS.n_concepts
        assert max(contrast.target_of_class) < len(contrast.concepts)


@pytest.mark.slow
def test_unmoved_augmentation_is_the_resize_of_inference(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torchvision.transforms.v2 import Resize

    from experiments.compact_clip import recipe

    unit = recipe.to_unit(make_split("mnist", 3, tuple("0123456789")).images)
    monkeypatch.setattr(recipe, "DIGIT_MOTION", {"shift": 0.0, "zoom": 0.0, "turn": 0.0, "flip": False})
    still = recipe.augment(unit, 64, True, torch.Generator())
    torch.testing.assert_close(still, recipe.resize(unit, 64), atol=1e-5, rtol=0)
    torch.testing.assert_close(recipe.resize(unit, 64), Resize((64, 64))(unit), atol=1e-6, rtol=0)


def test_digits_are_never_mirrored() -> None:
    import torch

    from experiments.compact_clip import recipe

    unit = torch.zeros(64, 3, 28, 28)
    unit[..., :14] = 1
    moved = recipe.augment(unit, 32, True, torch.Generator().manual_seed(0))
    assert (moved[..., :16].mean((1, 2, 3)) > moved[..., 16:].mean((1, 2, 3))).all()
