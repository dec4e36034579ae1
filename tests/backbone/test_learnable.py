"""Texts whose first words are free vectors, against the towers' own rows and finite differences."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fused_clip.backbone import LearnableTexts, OpenClipBackbone, OpenVocabularyBackbone, Precomputed
from fused_clip.backbone.base import FreeContext
from fused_clip.backbone.learnable import check_clip_text, clip_context
from fused_clip.support.errors import InputError
from tests.conftest import make_dataset
from tests.tiny_clip import CONFIG, save_tiny_clip

if TYPE_CHECKING:
    import torch

CONTEXT = "a photo of a"
NAMES = ["cat", "tabby cat, asleep", "dog"]
TEXTS = [f"{CONTEXT} {name}" for name in NAMES]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("models") / "tiny")


def make(folder: Path, **changes: Any) -> OpenClipBackbone:
    return OpenClipBackbone(f"local-dir:{folder}", **({"precision": "float32", "device": "cpu"} | changes))


def rows_of(free: FreeContext) -> torch.Tensor:
    return free.encode(free.vectors)


def check_slope(free: FreeContext, step: float, rtol: float) -> None:
    """Compare the gradient with central differences, along a few directions."""
    import torch

    draw = torch.Generator().manual_seed(0)
    vectors = free.vectors.clone().requires_grad_()
    weights = torch.randn(rows_of(free).shape, generator=draw, dtype=vectors.dtype)
    (slope,) = torch.autograd.grad((free.encode(vectors) * weights).sum(), vectors)
    for _ in range(3):
        along = torch.randn(vectors.shape, generator=draw, dtype=vectors.dtype) * step
        with torch.no_grad():
            change = free.encode(vectors + along) - free.encode(vectors - along)
        expected = (change * weights).sum() / 2
        torch.testing.assert_close((slope * along).sum(), expected, rtol=rtol, atol=0)


def test_the_words_own_vectors_give_the_towers_own_rows(tiny: Path) -> None:
    backbone = make(tiny)
    free = backbone.free_context(CONTEXT, NAMES)
    assert free.vectors.shape == (4, CONFIG["model_cfg"]["text_cfg"]["width"])
    rows = rows_of(free).numpy()
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, backbone.encode_texts(TEXTS), atol=1e-5)


def test_bfloat16_towers_learn_in_float32(tiny: Path) -> None:
    backbone = make(tiny, precision="bfloat16")
    before = backbone.encode_texts(TEXTS)
    rows = rows_of(backbone.free_context(CONTEXT, NAMES)).numpy()
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, before, atol=0.02 * np.abs(before).max())
    np.testing.assert_array_equal(backbone.encode_texts(TEXTS), before)


def test_every_vector_of_the_context_is_in_every_text(tiny: Path) -> None:
    import torch

    free = make(tiny).free_context(CONTEXT, NAMES)
    rows = rows_of(free)
    for place in range(len(free.vectors)):
        moved = free.vectors.clone()
        moved[place] = torch.linspace(-1, 1, moved.shape[1])
        assert (free.encode(moved) - rows).abs().amax(dim=1).min() > 1e-4


def test_the_gradient_is_that_of_finite_differences(tiny: Path) -> None:
    for backbone in (make(tiny), OpenClipBackbone("compact", precision="float32", device="cpu")):
        tokens = backbone._tokens(TEXTS)
        check_slope(clip_context(copy.deepcopy(backbone._towers).double(), tokens, 4), 1e-6, rtol=1e-4)
    free = backbone.free_context(CONTEXT, NAMES)
    rows_of(free)
    assert not any(weight.requires_grad for weight in backbone._towers.parameters())


def test_embedding_first_leaves_the_gradients(tiny: Path) -> None:
    """Weights that are loaded in inference mode would have none."""
    backbone = make(tiny)
    backbone.encode_images([np.zeros((32, 32, 3), np.uint8)])
    free = backbone.free_context(CONTEXT, NAMES)
    vectors = free.vectors.clone().requires_grad_()
    free.encode(vectors).sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.any()


def test_a_tower_that_open_clip_keeps_apart_is_the_same() -> None:
    import open_clip
    import torch

    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(**copy.deepcopy(CONFIG["model_cfg"])).eval().requires_grad_(False)
    tokens = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
    rows = rows_of(clip_context(model, tokens, 4))
    torch.testing.assert_close(rows, model.encode_text(tokens), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "key",
    [
        {"hf_model_name": "roberta-base"},
        {"embed_cls": True},
        {"no_causal_mask": True},
        {"pool_type": "last"},
        {"proj_bias": True},
    ],
)
def test_other_towers_are_refused_by_name(key: dict[str, Any]) -> None:
    ((name, value),) = key.items()
    with pytest.raises(InputError, match=rf"text: learns through CLIP's .* got 'other \({name}: {value}\)'"):
        check_clip_text(CONFIG["model_cfg"]["text_cfg"] | key, "other")
    check_clip_text(CONFIG["model_cfg"]["text_cfg"], "tiny")


def test_other_towers_and_long_names_are_found_before_weights_are_loaded(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(InputError, match=r"must fit the 16 tokens that tiny reads, and has 17"):
        make(tiny).check_context("x " * 13 + "x", ["cat"])
    text = CONFIG["model_cfg"]["text_cfg"]
    other = save_tiny_clip(tmp_path / "other", text_cfg=text | {"pool_type": "last"})
    (other / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"^text: .*other \(pool_type: last\)"):
        make(other).check_context(CONTEXT, NAMES)


def test_backbones_with_and_without_gradients_are_told_apart(tiny: Path) -> None:
    assert isinstance(make(tiny), LearnableTexts)
    assert isinstance(OpenVocabularyBackbone(), LearnableTexts)
    assert not isinstance(Precomputed(make_dataset([[0], [0]])), LearnableTexts)


@pytest.mark.slow
def test_the_open_backbone_learns_through_its_synthesised_classifiers() -> None:
    backbone = OpenVocabularyBackbone(precision="float32", device="cpu")
    backbone.check_context(CONTEXT, NAMES)
    assert "model" not in vars(backbone._text_tower), "the check loads no weights"
    with pytest.raises(InputError, match="256 tokens"):
        backbone.check_context("x " * 255, NAMES)
    free = backbone.free_context(CONTEXT, NAMES)
    assert free.vectors.shape == (4, 384)
    np.testing.assert_allclose(rows_of(free).numpy(), backbone.encode_texts(TEXTS), atol=1e-5)
    check_slope(free, 1e-4, rtol=0.03)
