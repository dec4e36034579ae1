"""Learnt contexts: CoOp against a plain loop and zero-shot, UPL against CoOp."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from fused_clip import load_model, pipeline
from fused_clip.backbone import OpenClipBackbone, OpenVocabularyBackbone
from fused_clip.backbone.base import FreeContext
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import checks, prompt
from fused_clip.method.context import UPL, CoOp, pseudo_labels
from fused_clip.method.prompt import Prompts
from fused_clip.predict.__main__ import main as predict
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.models import NAMES, pictures, save_pictures
from tests.test_pipeline import BlobEmbedder, FakeBackbone, method
from tests.tiny_clip import save_tiny_clip

Data = tuple[OpenClipBackbone, FloatArray, IntArray]
WORDS = "a picture of"


def of_names(names: tuple[str, ...] = NAMES, order: IntArray | None = None) -> Prompts:
    index = np.arange(len(names))
    return Prompts(tuple((name,) for name in names), names, index, index if order is None else order)


PROMPTS = of_names()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """A tiny CLIP, and pictures of three colours as it embeds them."""
    folder = save_tiny_clip(tmp_path_factory.mktemp("context") / "tiny")
    backbone = OpenClipBackbone(f"local-dir:{folder}", precision="float32", device="cpu")
    images, targets = pictures(45)
    return backbone, backbone.encode_images(images), targets


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def loss(rows: FloatArray, images: FloatArray, targets: IntArray) -> float:
    logits = 100 * (unit(images) @ unit(rows).T).astype(np.float64)
    right = logits[np.arange(len(targets)), targets]
    return float((np.logaddexp.reduce(logits, axis=1) - right).mean())


def test_words_without_a_step_are_zero_shot(data: Data) -> None:
    backbone, images, targets = data
    rows = CoOp(initial=WORDS, epochs=0)(PROMPTS, images, targets, backbone, 0)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, backbone.encode_texts([f"{WORDS} {name}" for name in NAMES]), atol=1e-5)


def test_underscores_are_spaces(data: Data) -> None:
    backbone, images, targets = data
    prompts = of_names(("dark_red", "green", "blue"))
    rows = CoOp(initial=WORDS, epochs=0)(prompts, images, targets, backbone, 0)
    np.testing.assert_allclose(rows[0], backbone.encode_texts([f"{WORDS} dark red"])[0], atol=1e-5)


def test_a_row_stands_in_the_place_of_its_targets_prompt(data: Data) -> None:
    backbone, images, targets = data
    order = np.array([2, 0, 1])
    coop = CoOp(n_context=3, epochs=2)
    rows, moved = (coop(p, images, targets, backbone, 0) for p in (PROMPTS, of_names(order=order)))
    np.testing.assert_array_equal(moved[order], rows)


def by_hand(free: FreeContext, start: FloatArray, images: FloatArray, targets: IntArray, epochs: int) -> Any:
    """Full batches of the paper's update, written out; the gradient of the loss by torch."""
    import torch

    context, velocity = torch.from_numpy(start), torch.zeros(start.shape)
    for epoch in range(epochs):
        rate = 1e-5 if epoch == 0 else 0.002 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs))
        context = context.detach().requires_grad_()
        texts = free.encode(context)
        logits = 100 * torch.from_numpy(unit(images)) @ (texts / texts.norm(dim=1, keepdim=True)).T
        chances = torch.softmax(logits, dim=1)[range(len(targets)), targets]
        (gradient,) = torch.autograd.grad(-chances.log().mean(), context)
        velocity = 0.9 * velocity + gradient + 5e-4 * context.detach()
        context = context.detach() - rate * velocity
    return free.encode(context).detach().numpy()


def test_the_update_is_sgd_with_a_cosine_after_a_slow_first_epoch(data: Data) -> None:
    backbone, images, targets = data
    few = slice(0, 30)  # one batch
    coop = CoOp(n_context=3, epochs=6)
    free = backbone.free_context("x x x", NAMES)
    start = np.random.default_rng(5).normal(0, 0.02, free.vectors.shape).astype(np.float32)
    expected = by_hand(free, start, images[few], targets[few], 6)
    found = coop(PROMPTS, images[few], targets[few], backbone, 5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - free.encode(free.vectors).numpy()).max() > 0.01


def test_the_loss_falls_and_the_seed_decides(data: Data) -> None:
    backbone, images, targets = data
    coop = CoOp(n_context=4, epochs=20, learning_rate=0.02)
    first, same, other = (coop(PROMPTS, images, targets, backbone, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-3
    start = CoOp(n_context=4, epochs=0)(PROMPTS, images, targets, backbone, 0)
    assert loss(first, images, targets) < 0.7 * loss(start, images, targets)


def test_rows_without_a_label_are_not_looked_at(data: Data) -> None:
    backbone, images, targets = data
    known = np.arange(len(targets)) < 12
    coop, hidden = CoOp(n_context=3, epochs=3), np.where(known, targets, -1)
    np.testing.assert_array_equal(
        coop(PROMPTS, images, hidden, backbone, 0), coop(PROMPTS, images[known], targets[known], backbone, 0)
    )


def test_a_target_without_a_label_is_warned_of_and_has_a_row(
    data: Data, caplog: pytest.LogCaptureFixture
) -> None:
    backbone, images, targets = data
    with caplog.at_level(logging.WARNING):
        rows = CoOp(n_context=3, epochs=3)(PROMPTS, images, np.where(targets == 1, -1, targets), backbone, 0)
    assert np.isfinite(rows).all()
    assert "learnt without an image of: green." in caplog.text


class Counted:
    """A tower that is the identity, and counts its passes."""

    def __init__(self) -> None:
        self.passes = 0

    def free(self) -> FreeContext:
        import torch

        return FreeContext(torch.eye(3), self.encode)

    def encode(self, vectors: Any) -> Any:
        self.passes += 1
        return vectors


@pytest.mark.parametrize(
    ("labels", "settings", "steps"),
    [
        (160, {"epochs": 4}, 4 * 5),
        (161, {"epochs": 4}, 4 * 6),
        (24, {}, 200),
        (21, {}, 100),
        (6, {}, 100),
        (3, {}, 50),
        (3000, {"epochs": 20, "max_steps": 100}, 20 * 5),
        (3000, {"epochs": 20, "max_steps": 7}, 7),
        (3000, {"max_steps": 401}, 200 * 2),
        (30, {"epochs": 0}, 0),
    ],
)
def test_steps(labels: int, settings: dict[str, Any], steps: int) -> None:
    """200 epochs for 8 labels a target, 100 for 2, 50 for 1; batches of 32 or, to keep to max_steps, more."""
    tower = Counted()
    images, targets = np.eye(3, dtype=np.float32)[np.arange(labels) % 3], np.arange(labels) % 3
    CoOp(initial="words", **settings)._learn(tower.free(), images, targets, np.random.default_rng(0))
    assert tower.passes == steps + 1


def test_the_context_decays() -> None:
    """Texts that are right already have no gradient: only the decay moves them."""
    images, targets = np.eye(3, dtype=np.float32), np.arange(3)
    coop = CoOp(initial="words", epochs=3, learning_rate=1.0)
    rows = coop._learn(Counted().free(), images, targets, np.random.default_rng(0))
    size, velocity = 1.0, 0.0
    for rate in (1e-5, 1.0, 0.75):
        velocity = 0.9 * velocity + 5e-4 * size
        size -= rate * velocity
    np.testing.assert_allclose(rows, size * np.eye(3), atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_context": 0},
        {"n_context": True},
        {"epochs": -1},
        {"epochs": "many"},
        {"learning_rate": 0.0},
        {"learning_rate": "fast"},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"initial": " "},
        {"max_steps": 0},
        {"per_target": 0},
        {"repetitions": 0},
    ],
)
def test_settings_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(InputError, match=rf"^text\.{name}: must be "):
        UPL(**wrong)


def test_labels_are_needed(data: Data) -> None:
    backbone, images, targets = data
    with pytest.raises(InputError, match="learns from labelled images, and there are none"):
        CoOp(n_context=3)(PROMPTS, images, np.full_like(targets, -1), backbone, 0)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (of_names(("cat",)), "two targets or more to learn from, got 1"),
        (dataclasses.replace(PROMPTS, truthful=False), "one truthful prompt a target"),
        (Prompts((("any",),), NAMES, np.arange(3), np.zeros(3, np.int64)), "one truthful prompt a target"),
        (
            of_names(("red", "many more words " * 5, "blue")),
            "must fit the 16 tokens",
        ),
    ],
)
def test_prompts_that_can_not_be_learnt_are_refused(data: Data, prompts: Prompts, message: str) -> None:
    for part in (CoOp(n_context=4), UPL(n_context=4)):
        with pytest.raises(InputError, match=message):
            part.check(prompts, data[0])


def test_a_backbone_without_a_text_tower_is_refused_before_work(toy: ImageDataset, blobs: Blobs) -> None:
    embedder = BlobEmbedder(blobs)
    learning = method(text=CoOp(), text_uses_labels=True)
    with pytest.raises(InputError, match=r"text: learns through a text tower, .*, got 'fake'"):
        pipeline.run(toy, prompt.task(toy), FakeBackbone(), embedder, learning)
    assert embedder.asked == []
    checks.check(learning, toy, prompt.none(toy), FakeBackbone())  # type: ignore[arg-type]


def test_pseudo_labels_are_the_most_confident_of_each_prediction() -> None:
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(60, 6)).astype(np.float32), rng.normal(size=(3, 6)).astype(np.float32)
    images *= rng.uniform(1, 50, (60, 1)).astype(np.float32)  # lengths say nothing
    cosines = unit(images.astype(float)) @ unit(texts.astype(float)).T
    predicted = cosines.argmax(axis=1)
    # How much less than 1 the softmax is: it is 1 for many in floating point.
    doubts = [sum(math.exp(100 * (one - row.max())) for one in np.sort(row)[:-1]) for row in cosines]
    expected = np.full(60, -1)
    for target in range(3):
        own = sorted(np.flatnonzero(predicted == target), key=lambda i: doubts[i])
        expected[own[:5]] = target
    np.testing.assert_array_equal(pseudo_labels(images, texts, 5), expected)
    np.testing.assert_array_equal(pseudo_labels(images, texts, 60), predicted)
    assert (pseudo_labels(images[predicted > 0], texts, 5) != 0).all(), "a target may have no image"


def class_means(images: FloatArray, targets: IntArray) -> FloatArray:
    """Text rows whose zero-shot predictions are right."""
    centred = unit(images)
    return np.stack([centred[targets == target].mean(axis=0) for target in range(3)]).astype(np.float32)


def test_upl_on_true_labels_is_coop(data: Data) -> None:
    backbone, images, targets = data
    texts = class_means(images, targets)
    np.testing.assert_array_equal(pseudo_labels(images, texts, 15), targets)
    settings = {"n_context": 3, "epochs": 3}
    once = UPL(per_target=15, repetitions=1, **settings)(texts, PROMPTS, images, backbone, 4)
    coop = [CoOp(**settings)(PROMPTS, images, targets, backbone, seed) for seed in (4, 5)]
    np.testing.assert_allclose(unit(once), unit(coop[0]), atol=1e-6)
    twice = UPL(per_target=15, repetitions=2, **settings)(texts, PROMPTS, images, backbone, 4)
    assert twice.dtype == np.float32
    np.testing.assert_allclose(unit(twice), unit(unit(coop[0]) + unit(coop[1])), atol=1e-6)


@pytest.mark.slow
def test_a_run_with_learnt_text_leaves_a_model_that_predicts(tmp_path: Path) -> None:
    clip = save_tiny_clip(tmp_path / "clip")
    words = ["dataset=digits", "dataset.n_train=200", "dataset.n_test=50", f"backbone.model=local-dir:{clip}"]
    words += ["backbone.device=cpu", "tracking=none", "references.draws=1", "clusterer=kmeans"]
    words += ["figures.enabled=false", "labels.per_class=3", "text=coop", "text.n_context=4", "text.epochs=3"]
    subprocess.run(
        [sys.executable, "-m", "fused_clip.run", *words, f"output_dir={tmp_path}/out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
        capture_output=True,
        timeout=300,
    )
    (run,) = (path.parent for path in tmp_path.glob("out/runs/**/metrics.json"))
    assert set(load_model(run).names) <= set("0123456789")
    save_pictures(tmp_path / "pictures", 6)
    predict([str(run), str(tmp_path / "pictures"), "--out", str(tmp_path / "answers.csv"), "--device", "cpu"])
    assert len(pd.read_csv(tmp_path / "answers.csv")) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "settings"),
    [
        (OpenClipBackbone("compact", precision="float32", device="cpu"), {}),
        (OpenVocabularyBackbone(precision="float32", device="cpu"), {"epochs": 30}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_few_digits_are_learnt_by_the_shipped_backbones(
    backbone: OpenClipBackbone, settings: dict[str, Any]
) -> None:
    pixels, targets = load_digits(n_class=3, return_X_y=True)
    images = [np.repeat(one.reshape(8, 8, 1) * 15.9, 3, axis=2).astype(np.uint8) for one in pixels[:30]]
    rows, targets = backbone.encode_images(images), targets[:30]
    names = ("0", "1", "2")
    prompts = of_names(names)
    zero_shot = backbone.encode_texts([f"This is a digit {name}" for name in names])
    learnt = CoOp(**settings)(prompts, rows, targets, backbone, 0)
    assert loss(learnt, rows, targets) < 0.9 * loss(zero_shot, rows, targets)
    right = [(unit(rows) @ unit(texts).T).argmax(axis=1) == targets for texts in (learnt, zero_shot)]
    assert right[0].mean() > right[1].mean() + 0.1
