"""Log an open run to an MLflow store: numbers, facts, files, pictures, model."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fused_clip.method.reference import ReferenceFacts
from fused_clip.metrics.catalogue import METRICS
from fused_clip.metrics.numbers import number
from fused_clip.model.result import Result
from fused_clip.support.checksums import SUMS
from fused_clip.support.chunks import batched
from fused_clip.tracking.models import log_model
from fused_clip.tracking.values import chart_name, image_name, mlflow_key, mlflow_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

FILES = (
    "config.yaml",
    "result.json",
    "metrics.json",
    "timings.json",
    "predictions.parquet",
    "curves.csv",
    "embeddings.npz",
    "fused_clip.log",
    SUMS,
)
MODEL = "model"
GRID_PIXELS = 1_000  # longest side of a picture in the image grid; the file among the artifacts has all
_METRICS_A_CALL = 1_000  # mlflow's limit: mlflow/utils/validation.py
_DIGEST_LENGTH = 36


@dataclass(frozen=True)
class MlflowRun:
    """A run that is open.

    Parameters
    ----------
    client : of the store.
    run_id : its id.
    registered_model : name in the registry for its model; None for none.
    """

    client: "MlflowClient"
    run_id: str
    registered_model: str | None = None

    def log(
        self,
        result: Result,
        directory: Path,
        pictures: Sequence[Path],
        references: Sequence[ReferenceFacts] = (),
    ) -> None:
        """Log metrics, facts, the dataset, files, pictures, and the model if there is one.

        Pictures are kept below ``figures``; PNG files also go to the image grid, scaled down.
        """
        self._log_numbers_and_facts(result, references)
        self._log_dataset(result)
        for name in FILES:
            if (directory / name).is_file():
                self.client.log_artifact(self.run_id, str(directory / name))
        for picture in pictures:
            self.client.log_artifact(self.run_id, str(picture), "figures")
            if picture.suffix == ".png":
                self._log_to_grid(picture)
        if (directory / MODEL).is_dir():
            log_model(self.client, self.run_id, directory / MODEL, self.registered_model)

    def _log_numbers_and_facts(self, result: Result, references: Sequence[ReferenceFacts]) -> None:
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        finite = {key: float(value) for key, value in result.metrics.items() if math.isfinite(value)}
        tags = mlflow_tags(
            {
                **result.tags,
                "uses_labels": str(result.uses_labels).lower(),
                "backbone_saw_labels": str(result.backbone_saw_labels).lower(),
                "missing_targets": ", ".join(result.missing_targets),
                "prompts": " | ".join(result.texts),
                "mlflow.note.content": _note(result, references),
                # SQL keeps infinity as 1.8e308 and NaN as 0, so these are left out.
                "undefined_metrics": ", ".join(sorted(result.metrics.keys() - finite.keys())),
            }
        )
        for some in batched(finite.items(), _METRICS_A_CALL):
            metrics = [Metric(mlflow_key(chart_name(key)), value, now, 0) for key, value in some]
            self.client.log_batch(self.run_id, metrics=metrics)
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _log_dataset(self, result: Result) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        dataset = Dataset(
            name=result.dataset,
            digest=result.tags.get("data_fingerprint", "")[:_DIGEST_LENGTH] or "unknown",
            source_type="external",
            source=json.dumps({"uri": result.tags.get("data_source", "")}),
            profile=json.dumps({"num_rows": {"train": len(result.train), "test": len(result.test)}}),
        )
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "train and test")])]
        try:
            self.client.log_inputs(self.run_id, datasets=inputs)
        except MlflowException:
            # Of cells that name a new dataset at once, all but one are refused; now it is there.
            self.client.log_inputs(self.run_id, datasets=inputs)

    def _log_to_grid(self, picture: Path) -> None:
        from PIL import Image

        with Image.open(picture) as image:
            small = image.convert("RGB")
        small.thumbnail((GRID_PIXELS, GRID_PIXELS))
        self.client.log_image(self.run_id, small, key=image_name(picture.stem), step=0)


def _note(result: Result, references: Sequence[ReferenceFacts]) -> str:
    """Description of a run: a Markdown table of its metrics and references; empty if it has none."""
    metrics, saw = result.metrics, result.backbone_saw_labels
    rows = [(name, facts.title, facts.digits, facts.explanation, "") for name, facts in METRICS.items()]
    rows += [
        (facts.accuracy, f"reference: {facts.title}", 4, facts.explanation, facts.labels(backbone_saw=saw))
        for facts in references
    ]
    shown = [
        (title, number(metrics[name], digits), explanation, labels)
        for name, title, digits, explanation, labels in rows
        if math.isfinite(metrics.get(name, math.nan))
    ]
    head = ("metric", "value", "explanation", "uses labels")
    lines = ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *shown)]
    return "\n".join(lines) if shown else ""
