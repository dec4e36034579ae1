"""One cell of an experiment: parts from options, the pipeline, and what it leaves behind."""

import dataclasses
import importlib.metadata
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.conf import HydraConf
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fused_clip.model.result import Result
from fused_clip.runner import sweep
from fused_clip.runner.config import FigureOptions, Options, TrackingOptions, build
from fused_clip.runner.jobs import axes_of
from fused_clip.support.errors import InputError
from fused_clip.support.files import disk_full_errors

if TYPE_CHECKING:
    from fused_clip.runner.build import Parts
    from fused_clip.runner.reuse import Finished
    from fused_clip.tracking import Tracker

log = logging.getLogger(__name__)
GROUPS = ("dataset", "prompt", "clusterer", "backbone", "pairing", "text", "fusion", "classifier")
_VERSIONED = ("fused_clip", "torch", "open_clip_torch", "scikit-learn", "faiss-cpu", "numpy")


def make_tracker(cfg: DictConfig) -> Any:
    """Make the tracker that a composed config names, and see that its store answers.

    Raises
    ------
    InputError
        If the options are wrong or the store does not answer.
    """
    node = OmegaConf.to_container(cfg.tracking, resolve=True)
    return _checked_tracker(TrackingOptions.model_validate(node), Path(cfg.output_dir).absolute())


def _checked_tracker(options: TrackingOptions, output_dir: Path) -> Any:
    tracker = build(options, output_dir=output_dir)
    tracker.check()
    return tracker


@dataclass(frozen=True)
class Cell:
    """One run: its options and its place.

    Parameters
    ----------
    options : checked options.
    cfg : the composed config they came from, for the record.
    directory : where the run writes.
    output_dir : where the store and the tracking database are.
    choices : option chosen of each group.
    overrides : command-line overrides of this run.
    job : whether it is a job of a sweep, which prints no table of its own.
    """

    options: Options
    cfg: DictConfig
    directory: Path
    output_dir: Path
    choices: dict[str, str]
    overrides: list[str]
    job: bool

    @classmethod
    def from_hydra(cls, options: Options, cfg: DictConfig, hydra_cfg: HydraConf) -> "Cell":
        """Take the run's place and choices from Hydra's runtime."""
        runtime = hydra_cfg.runtime
        return cls(
            options,
            cfg,
            Path(runtime.output_dir),
            Path(runtime.cwd) / options.output_dir,
            {group: str(runtime.choices[group]) for group in GROUPS},
            list(hydra_cfg.overrides.task),
            job=hydra_cfg.mode == RunMode.MULTIRUN,
        )

    @property
    def name(self) -> str:
        """Such as ``cifar10-grouped-spectral-s0``."""
        parts = (self.choices[group] for group in ("dataset", "prompt", "clusterer"))
        return "-".join([*parts, f"s{self.options.seed}"])

    def run(self) -> float:
        """Run the pipeline; write, draw, log and print what it found.

        Returns
        -------
        Test accuracy, or NaN where it is undefined.
        """
        start = time.perf_counter()
        with disk_full_errors(self.output_dir):
            tracker = _checked_tracker(self.options.tracking, self.output_dir)
            if not self.job:
                tracker.close_abandoned()
            key = self._key()
            wanted = self.job if self.options.resume is None else self.options.resume
            if key and wanted:
                return self._run_unless_finished(tracker, key, start)
            return self._run(tracker, start)

    def _run_unless_finished(self, tracker: "Tracker", key: str, start: float) -> float:
        from fused_clip.runner import reuse

        with reuse.lock_cell(self.output_dir, key, self.name):
            finished = reuse.find(self.output_dir, key, self._extras(), tracker.has_finished)
            return self._reuse(tracker, finished) if finished else self._run(tracker, start)

    def _run(self, tracker: "Tracker", start: float) -> float:
        from fused_clip.model import saved
        from fused_clip.runner import artifacts, console, reuse

        options = self.options
        (self.directory / "config.yaml").write_text(OmegaConf.to_yaml(self.cfg, resolve=True))
        parent = os.environ.get(sweep.PARENT_VARIABLE) if self.job else None
        params, tags = self._params(), self._tags()
        with tracker.run(name=self.name, params=params, tags=tags, parent_id=parent) as active:
            result = self._result()
            dataset, backbone = self._parts
            kept = artifacts.kept_embeddings(options, dataset, job=self.job)
            artifacts.write(result, self.directory, seed=options.seed, embeddings=kept)
            saved.save(result, dataset.train.images, backbone, self.directory / "model")
            pictures: list[Path] = []
            if options.figures.enabled:
                result, pictures = self._draw(result)
            seconds = {"seconds/total": time.perf_counter() - start}
            result = dataclasses.replace(result, metrics={**result.metrics, **seconds})
            artifacts.write_metrics(result, self.directory)
            active.log(result, self.directory, pictures)
            # The note counts once the run is FINISHED: killed in between, the cell is missing, not doubled.
            if key := self._key():
                reuse.keep(self.output_dir, key, self.directory, active.run_id, self._extras())
        metrics = dict(result.metrics)
        if self.job:
            sweep.record(self.directory, self.overrides, metrics=metrics, run_id=active.run_id)
        else:
            console.print_run(result, self.directory, pictures, tracker.ui_command())
        return metrics.get("test/accuracy", float("nan"))

    @cached_property
    def _parts(self) -> "Parts":
        from fused_clip.runner.build import make_parts

        return make_parts(self.options)

    def _key(self) -> str | None:
        """What a finished run of this cell is found by; None if a part is wrong, which its use will tell."""
        from fused_clip.runner.reuse import cell_key

        try:
            dataset, backbone = self._parts
            return cell_key(self.options, dataset, backbone.fingerprint)
        except InputError:
            return None

    def _extras(self) -> dict[str, str]:
        from fused_clip.runner import artifacts

        return artifacts.extras(self.options, self._parts[0], job=self.job)

    def _reuse(self, tracker: "Tracker", finished: "Finished") -> float:
        from fused_clip.store import Store

        dataset, backbone = self._parts
        for split in (dataset.train, dataset.test):  # what its keys lead to stays as long as it is used
            Store(self.output_dir / "store").note_use(backbone, split.images, split.rows)
        tracker.adopt(finished.run_id, os.environ.get(sweep.SWEEP_VARIABLE, "") if self.job else "")
        if self.job:
            sweep.record(
                self.directory,
                self.overrides,
                metrics=finished.metrics,
                run_id=finished.run_id,
                reused_from=finished.directory,
            )
        else:
            print(f"This run is finished already: {finished.directory}")
        return finished.metrics.get("test/accuracy", float("nan"))

    def _result(self) -> Result:
        from fused_clip import pipeline
        from fused_clip.runner.build import make_method, make_references
        from fused_clip.store import Store
        from fused_clip.store.partitions import StoreMemory
        from fused_clip.support.stages import Stages

        options, stages = self.options, Stages()
        with stages("load"):
            dataset, backbone = self._parts
            prompts = build(options.prompt, dataset=dataset)
        store = Store(self.output_dir / "store")
        method = make_method(options, StoreMemory(store))
        references = make_references(options, dataset)
        names = {
            **self.choices,
            "train_images": dataset.train.images.fingerprint,
            "test_images": dataset.test.images.fingerprint,
            "backbone_fingerprint": backbone.fingerprint,
        }
        result = pipeline.run(
            dataset,
            prompts,
            backbone,
            store,
            method,
            references=references,
            draws=options.references.draws,
            names=names,
            stages=stages,
        )
        if store.embedded_images:
            rate = {"images_per_second": store.embedded_images / store.embedded_seconds}
            result = dataclasses.replace(result, metrics={**result.metrics, **rate})
        return result

    def _draw(self, result: Result) -> tuple[Result, list[Path]]:
        from fused_clip import figures

        start = time.perf_counter()
        options: FigureOptions = self.options.figures
        drawn = figures.draw(result, points=options.points, seed=self.options.seed)
        pictures = figures.save(drawn, self.directory / "figures")
        metrics = {**result.metrics, "seconds/figures": time.perf_counter() - start}
        return dataclasses.replace(result, metrics=metrics), pictures

    def _params(self) -> dict[str, Any]:
        options = self.options
        own = {"vote": options.vote, "seed": options.seed, "clusters_per_target": options.clusters_per_target}
        return {**axes_of(self.overrides), **self.choices, **own}

    def _tags(self) -> dict[str, str]:
        versions = {f"version.{name}": importlib.metadata.version(name) for name in _VERSIONED}
        return {
            "study": self.options.study,
            "sweep_id": os.environ.get(sweep.SWEEP_VARIABLE, "") if self.job else "",
            "directory": str(self.directory),
            "command": " ".join(sys.argv[1:]),
            "overrides": "\n".join(self.overrides) if self.job else "",
            "commit": commit(),
            **self.choices,
            **versions,
        }


def commit() -> str:
    """Commit of the checkout that the package stands in, with ``+`` for local changes; else empty."""
    package = Path(__file__).resolve().parent
    try:
        described = subprocess.run(  # noqa: S603
            ["git", "-C", str(package), "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return described.stdout.strip()
