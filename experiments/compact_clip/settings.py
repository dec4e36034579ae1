"""Typed, range-checked settings of training and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fused_clip.support.option_types import complaints

Kind = TypeVar("Kind", bound=BaseModel)


class Stage(BaseModel):
    """Some epochs at one image size (pixels, side of a square); `restart` is the peak rate of a new cycle.

    `mnist_per_epoch`, if given, replaces the digits of an epoch in this stage.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1)
    image_size: int = Field(ge=32, le=224)
    restart: float | None = Field(None, gt=0, le=1)
    mnist_per_epoch: int | None = Field(None, ge=1)


class Settings(BaseModel):
    """All keys of `conf/train.yaml`; pydantic names the key, the rule and the value of a bad one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path | None = None
    output_dir: Path = Path("outputs/compact_clip")
    export_dir: Path | None = None
    seed: int = Field(0, ge=0, lt=2**31)
    holdout: int = Field(1000, ge=1)
    mnist_per_epoch: int = Field(8000, ge=1)
    limit: int | None = Field(None, ge=10)
    batch_size: int = Field(256, ge=2)
    stages: tuple[Stage, ...] = Field(min_length=1)
    learning_rate: float = Field(2e-3, gt=0, le=1)
    weight_decay: float = Field(0.05, ge=0, le=1)
    warmup_fraction: float = Field(0.15, gt=0, lt=1)
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    group_weight: float = Field(0.25, ge=0)
    ema_decay: float = Field(0.998, ge=0, lt=1)

    @property
    def export_folder(self) -> Path:
        """Where the trained model goes."""
        return self.export_dir or self.output_dir / "export"

    @property
    def epochs(self) -> int:
        """Epochs of all stages."""
        return sum(stage.epochs for stage in self.stages)

    def stage(self, epoch: int) -> Stage:
        """Return the stage of `epoch`, counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage
            epoch -= stage.epochs
        raise ValueError(f"epoch must be below {self.epochs}")

    def digits(self, epoch: int) -> int:
        """Return how many digits `epoch` draws."""
        return self.stage(epoch).mnist_per_epoch or self.mnist_per_epoch

    def cycle(self, epoch: int) -> tuple[int, int, float]:
        """Return (first epoch, number of epochs, peak rate) of the one-cycle schedule that `epoch` is in."""
        start, length, peak = 0, 0, self.learning_rate
        for stage in self.stages:
            if stage.restart is not None:
                if epoch < start + length:
                    break
                start, length, peak = start + length, 0, stage.restart
            length += stage.epochs
        return start, length, peak

    def recipe(self) -> dict[str, Any]:
        """Return the settings that change the weights, as JSON."""
        return self.model_dump(mode="json", exclude={"data_dir", "output_dir", "export_dir"})

    def continues(self, recipe: dict[str, Any]) -> bool:
        """Return whether a run of `recipe` is a beginning of this one.

        True for the same recipe, and for one with fewer stages if the next stage starts a cycle of its own.
        """
        own = self.recipe()
        known = len(recipe["stages"])
        starts_anew = all(stage["restart"] is not None for stage in own["stages"][known : known + 1])
        return starts_anew and own | {"stages": own["stages"][:known]} == recipe


class EvaluateSettings(BaseModel):
    """All keys of `conf/evaluate.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path | None = None
    output_dir: Path = Path("outputs")
    model: str = "compact"
    n_test: int | None = Field(None, ge=1)
    runs: int = Field(5, ge=1)
    record: bool = False


def checked(kind: type[Kind], cfg: DictConfig) -> Kind:
    """Make settings of a composed configuration; raise InputError with the first key at fault."""
    content = OmegaConf.to_container(cfg, resolve=True)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise complaints(error, content)[0] from error
