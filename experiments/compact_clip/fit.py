"""The training loop: epochs, checkpoints, log."""

from __future__ import annotations

import copy
import json
import logging
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.compact_clip import checkpoint, recipe
from experiments.compact_clip.corpus import Corpus
from experiments.compact_clip.export import run_facts
from experiments.compact_clip.zero_shot import accuracies, paper_tasks
from fused_clip.support.errors import InputError
from fused_clip.support.files import check_writable, write_atomic

if TYPE_CHECKING:
    from experiments.compact_clip.settings import Settings

log = logging.getLogger(__name__)
MODEL = json.loads(Path(__file__).with_name("model.json").read_text())
_KEPT = ("model", "average", "optimizer", "schedule")


def build_model(seed: int) -> nn.Module:
    """Return the untrained open_clip model of `model.json`."""
    import open_clip

    torch.manual_seed(seed)
    return open_clip.model.CLIP(**copy.deepcopy(MODEL["model_cfg"])).to(memory_format=torch.channels_last)


def make_tokenizer() -> Any:
    """Return open_clip's tokenizer at the context length of the model."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=MODEL["model_cfg"]["text_cfg"]["context_length"])


class Trainer:
    """Model, average, optimiser and schedule of one run, with everything that a checkpoint contains."""

    def __init__(self, corpus: Corpus, settings: Settings) -> None:
        self.corpus, self.settings = corpus, settings
        self.offsets = (0, 10, 10 + len(corpus.concepts.cifar10))
        self.model = build_model(settings.seed)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.loss = recipe.CaptionLoss(corpus.concepts.contrasts(), settings)
        self.tokenizer = make_tokenizer()
        if not min(self.steps(epoch) for epoch in range(settings.epochs)):
            raise InputError("batch_size", "must be at most the images of an epoch", settings.batch_size)
        self.optimizer = self._optimizer()
        self.schedule = self._cycle(0)
        self.history: list[dict[str, Any]] = []

    def steps(self, epoch: int) -> int:
        """Return the number of whole batches of `epoch`."""
        digits, *others = (len(split.labels) for split in self.corpus.train)
        return (min(digits, self.settings.digits(epoch)) + sum(others)) // self.settings.batch_size

    def _optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW, which decays matrices and kernels only."""
        groups = [
            {"params": [p for p in self.model.parameters() if p.ndim > 1]},
            {"params": [p for p in self.model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay, fused=True)

    def _cycle(self, epoch: int) -> torch.optim.lr_scheduler.OneCycleLR:
        """Return the schedule of the cycle that `epoch` is in, at its start."""
        start, epochs, peak = self.settings.cycle(epoch)
        return torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            peak,
            total_steps=sum(self.steps(start + i) for i in range(epochs)),
            pct_start=self.settings.warmup_fraction,
            cycle_momentum=False,
        )

    def _epoch_rows(self, epoch: int) -> np.ndarray:
        """Return the shuffled (set, row) pairs of one epoch; they depend on seed and epoch only."""
        rng = np.random.default_rng((self.settings.seed, epoch))
        sizes = [len(split.labels) for split in self.corpus.train]
        digits = rng.permutation(sizes[0])[: self.settings.digits(epoch)]
        rows = [digits, *(np.arange(size) for size in sizes[1:])]
        return rng.permutation(
            np.concatenate([np.stack([np.full(len(r), i), r], 1) for i, r in enumerate(rows)])
        )

    def _batch(self, rows: np.ndarray, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return augmented images (n, 3, size, size) and their classes (n,), one set after the other."""
        images, classes = [], []
        for i, split in enumerate(self.corpus.train):
            own = rows[rows[:, 0] == i, 1]
            if len(own):
                unit = recipe.to_unit(split.images[own])
                images.append(recipe.augment(unit, size, split.name == "mnist", generator))
                classes.append(torch.from_numpy(split.labels[own]) + self.offsets[i])
        pixels = MODEL["preprocess_cfg"]
        return recipe.normalise(torch.cat(images), pixels["mean"], pixels["std"]), torch.cat(classes)

    def train_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean loss; all its randomness comes from seed and epoch."""
        size, batch = self.settings.stage(epoch).image_size, self.settings.batch_size
        steps = self.steps(epoch)
        before = sum(self.steps(earlier) for earlier in range(epoch))
        rows, total = self._epoch_rows(epoch), 0.0
        rng = random.Random(f"{self.settings.seed}/{epoch}")
        generator = torch.Generator().manual_seed(self.settings.seed * 10_007 + epoch)
        if epoch == self.settings.cycle(epoch)[0]:
            self.schedule = self._cycle(epoch)
        self.model.train()
        started = time.perf_counter()
        for step in range(steps):
            images, classes = self._batch(rows[step * batch : (step + 1) * batch], size, generator)
            total += self._step(images, classes, self.tokenizer(self.corpus.concepts.captions(rng)))
            recipe.update_average(self.average, self.model, self.settings.ema_decay, before + step)
            if step % 50 == 49:
                speed = (step + 1) * batch / (time.perf_counter() - started)
                log.info(
                    "epoch %d step %d loss %.3f, %.0f images/s", epoch, step + 1, total / (step + 1), speed
                )
        return total / steps

    def _step(self, images: Tensor, classes: Tensor, tokens: Tensor) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            image_rows = self.model.encode_image(images)
            text_rows = self.model.encode_text(tokens)
        cosines = (
            functional.normalize(image_rows.float(), dim=-1)
            @ functional.normalize(text_rows.float(), dim=-1).T
        )
        scale = self.model.logit_scale.clamp(max=np.log(100)).exp()
        loss = self.loss(scale * cosines, classes)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        return loss.item()

    def held_out(self, size: int) -> dict[str, float]:
        """Return the averaged model's zero-shot accuracies on the held-out rows, shown at `size` pixels."""
        out: dict[str, float] = {}
        for split in self.corpus.held_out:
            out |= accuracies(self.average, self.tokenizer, split, paper_tasks(split), size)
        return out

    def state(self) -> dict[str, Any]:
        """Return what `load` takes up."""
        return {"history": self.history} | {name: getattr(self, name).state_dict() for name in _KEPT}

    def load(self, state: dict[str, Any]) -> None:
        """Take up the state of a run that this one continues."""
        self.history = state["history"]
        self.schedule = self._cycle(len(self.history) - 1)
        for name in _KEPT:
            getattr(self, name).load_state_dict(state[name])


def fit(
    corpus: Corpus, settings: Settings, stop_after: int | None = None
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Train to the end (or `stop_after` epochs), resuming from `output_dir`; return (average, log).

    Raises
    ------
    InputError
        If `output_dir` contains another run or can't be written, or an epoch has less than one batch.
    """
    trainer = Trainer(corpus, settings)
    check_writable(settings.output_dir)
    if state := checkpoint.read(settings):
        checkpoint.check_data(state, corpus, settings)
        trainer.load(state)
        log.info("resuming after %d epochs", len(trainer.history))
    _write_json(settings, "run.json", run_facts(corpus, settings))
    for epoch in range(len(trainer.history), stop_after or settings.epochs):
        started = time.perf_counter()
        loss = trainer.train_epoch(epoch)
        seconds = time.perf_counter() - started
        facts = {
            "epoch": epoch + 1,
            "image_size": settings.stage(epoch).image_size,
            "loss": round(loss, 4),
            "seconds": round(seconds, 1),
            "images_per_second": round(trainer.steps(epoch) * settings.batch_size / seconds, 1),
            "held_out": trainer.held_out(settings.stage(epoch).image_size),
        }
        trainer.history.append(facts)
        log.info("%s", facts)
        checkpoint.write(trainer.state(), corpus, settings)
        _write_json(settings, "log.json", trainer.history)
    return trainer.average, trainer.history


def _write_json(settings: Settings, name: str, content: object) -> None:
    write_atomic(settings.output_dir / name, json.dumps(content, indent=1).encode())
