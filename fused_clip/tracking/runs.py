"""Sweeps and runs in an MLflow store."""

import getpass
import json
import math
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING, TypeVar

from fused_clip.result import Result
from fused_clip.tracking.base import Scalar, Status
from fused_clip.tracking.database import absolute_uri, compare_url, connect, ui_command

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

FILES = ("config.yaml", "metrics.json", "predictions.parquet", "embeddings.npz", "fused_clip.log")
GRID_PIXELS = 1_000  # longest side of a picture in the image grid; the file among the artifacts has all
# mlflow's limits: mlflow/utils/validation.py
_LONGEST_VALUE, _LONGEST_KEY = 5_000, 250
_METRICS_A_CALL, _PARAMS_A_CALL = 1_000, 100
_DIGEST_LENGTH = 36


class MlflowTracker:
    """Records runs in an MLflow store, which is opened when it is first needed.

    Parameters
    ----------
    output_dir : place of the default store, ``mlflow.db``, and of the artifacts, ``mlartifacts``.
    uri : tracking URI; None for the default store.
    experiment : MLflow experiment, made if it is not there.

    Raises
    ------
    InputError
        By every method that needs the store, if it can't be used.
    """

    def __init__(self, output_dir: Path, uri: str | None = None, experiment: str = "fused_clip") -> None:
        self.output_dir = Path(output_dir).absolute()
        self.uri = absolute_uri(uri, self.output_dir)
        self.experiment = experiment
        self._opened: tuple[MlflowClient, str] | None = None

    def check(self) -> None:
        """See that the store answers; a local database that is not there yet is made."""
        self._store()

    def start_sweep(self, name: str, tags: Mapping[str, str]) -> str:
        """Open the parent run of a sweep; return its id."""
        return self._create(name, tags)

    def end_sweep(self, parent_id: str, table: Sequence[Mapping[str, Scalar]], status: Status) -> None:
        """Close a sweep's parent run with the table of its cells, as ``sweep.json``.

        Parameters
        ----------
        table : one row a cell; an ``error`` that is not empty marks a failed one.
        """
        from mlflow.entities import RunTag
        from pandas import DataFrame

        client, _ = self._store()
        failed = [_brief(row) for row in table if row.get("error")]
        tags = _tags({"cells": str(len(table)), "failed_cells": "; ".join(failed)})
        try:
            client.log_batch(parent_id, tags=[RunTag(key, value) for key, value in tags.items()])
            if table:
                client.log_table(parent_id, DataFrame(table, dtype=object), "sweep.json")
        finally:
            client.set_terminated(parent_id, status)

    @contextmanager
    def run(
        self, name: str, params: Mapping[str, object], tags: Mapping[str, str], parent_id: str | None = None
    ) -> Iterator["MlflowRun"]:
        """Open a run; if the block raises it ends FAILED with message and traceback, if interrupted KILLED.

        Parameters
        ----------
        params : the swept axes, which head the columns of the comparison.
        tags : facts that runs are filtered by; empty ones are left out.
        parent_id : of the sweep that the run belongs to.
        """
        from mlflow.entities import Param

        client, _ = self._store()
        run_id = self._create(name, {**tags, "mlflow.parentRunId": parent_id or ""})
        try:
            for some in _portions(params.items(), _PARAMS_A_CALL):
                client.log_batch(run_id, params=[Param(_key(key), _cut(str(value))) for key, value in some])
            yield MlflowRun(client, run_id)
        except BaseException as error:
            _end_badly(client, run_id, error)
            raise
        client.set_terminated(run_id, "FINISHED")

    def ui_command(self) -> str:
        """Shell line that opens the comparison of runs; the address of a server."""
        return ui_command(self.uri)

    def compare_url(self, sweep_id: str) -> str:
        """Address, in the UI that `ui_command` starts, of a sweep's runs side by side."""
        _, experiment_id = self._store()
        return compare_url(self.uri, experiment_id, sweep_id)

    def _store(self) -> tuple["MlflowClient", str]:
        if self._opened is None:
            self._opened = connect(self.uri, self.output_dir, self.experiment)
        return self._opened

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        client, experiment_id = self._store()
        # What mlflow.start_run would add: these have columns of their own in the UI.
        known = {
            "mlflow.user": _user(),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": Path(sys.argv[0]).name,
            "mlflow.source.git.commit": tags.get("commit", ""),
        }
        run = client.create_run(experiment_id, tags=_tags({**known, **tags}), run_name=name)
        return str(run.info.run_id)


@dataclass(frozen=True)
class MlflowRun:
    """A run that is open."""

    client: "MlflowClient"
    run_id: str

    def log(self, result: Result, directory: Path, pictures: Sequence[Path]) -> None:
        """Log metrics, facts, the dataset, files, and pictures.

        Parameters
        ----------
        directory : the run's directory; those of `FILES` that are there become artifacts.
        pictures : figures as written, kept as they are below ``figures``; PNG files also go to the image
            grid, scaled down, each under its name.
        """
        self._log_numbers_and_facts(result)
        self._log_dataset(result)
        for name in FILES:
            if (directory / name).is_file():
                self.client.log_artifact(self.run_id, str(directory / name))
        for picture in pictures:
            self.client.log_artifact(self.run_id, str(picture), "figures")
            if picture.suffix == ".png":
                self._log_to_grid(picture)

    def _log_numbers_and_facts(self, result: Result) -> None:
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        finite = {key: float(value) for key, value in result.metrics.items() if math.isfinite(value)}
        tags = _tags(
            {
                **result.tags,
                "uses_labels": str(result.uses_labels).lower(),
                "backbone_saw_labels": str(result.backbone_saw_labels).lower(),
                "missing_targets": ", ".join(result.missing_targets),
                "prompts": " | ".join(result.texts),
                # SQL keeps infinity as 1.8e308 and NaN as 0: better not there than wrong.
                "undefined_metrics": ", ".join(sorted(result.metrics.keys() - finite.keys())),
            }
        )
        for some in _portions(finite.items(), _METRICS_A_CALL):
            metrics = [Metric(_key(key), value, now, 0) for key, value in some]
            self.client.log_batch(self.run_id, metrics=metrics)
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _log_dataset(self, result: Result) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=result.dataset,
            digest=result.tags.get("data_fingerprint", "")[:_DIGEST_LENGTH] or "unknown",
            source_type="external",
            source=json.dumps({"uri": result.tags.get("data_source", "")}),
            profile=json.dumps({"num_rows": {"train": len(result.train), "test": len(result.test)}}),
        )
        context = InputTag("mlflow.data.context", "train and test")
        self.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, [context])])

    def _log_to_grid(self, picture: Path) -> None:
        from PIL import Image

        with Image.open(picture) as image:
            small = image.convert("RGB")
        small.thumbnail((GRID_PIXELS, GRID_PIXELS))
        self.client.log_image(self.run_id, small, key=picture.stem, step=0)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return ""


def _end_badly(client: "MlflowClient", run_id: str, error: BaseException) -> None:
    """Close a run with what went wrong; if the store fails as well, the first error still is the one told."""
    failed = isinstance(error, Exception)
    try:
        if failed:
            client.set_tag(run_id, "error", _cut(str(error) or repr(error)))
            client.log_text(run_id, "".join(traceback.format_exception(error)), "error.txt")
        client.set_terminated(run_id, "FAILED" if failed else "KILLED")
    except Exception as second:
        error.add_note(f"The tracking store could not be told: {second!r}")


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as mlflow takes them; those without a value are left out."""
    return {_key(key): _cut(value) for key, value in tags.items() if value}


def _brief(row: Mapping[str, Scalar]) -> str:
    """One failed cell: its words, not its numbers."""
    words = [str(value) for key, value in row.items() if isinstance(value, str) and value and key != "error"]
    return f"{' '.join(words)}: {str(row['error']).splitlines()[0][:200]}"


def _cut(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + "…"


def _key(name: str) -> str:
    """`name` in the characters and the form that mlflow takes for keys."""
    plain = normpath(re.sub(r"[^\w./: -]", "_", name)).lstrip("./")
    return plain[:_LONGEST_KEY] or "_"


def _portions(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
