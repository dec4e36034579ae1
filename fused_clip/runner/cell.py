"""One cell of an experiment: parts from options, the pipeline, and its outputs."""

import dataclasses
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.conf import HydraConf
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from fused_clip.model.result import Result
from fused_clip.runner.config import Options
from fused_clip.runner.outcomes import record
from fused_clip.support import collector
from fused_clip.support.conf import axes_of
from fused_clip.support.files import link
from fused_clip.support.plugins import plugin_versions
from fused_clip.support.timing import Stages
from fused_clip.support.versions import versions

if TYPE_CHECKING:
    from fused_clip.backbone import Backbone
    from fused_clip.method.reference import ReferenceFacts
    from fused_clip.runner.build import Prepared
    from fused_clip.runner.reuse import Finished
    from fused_clip.store import Store
    from fused_clip.tracking import Tracker

log = logging.getLogger(__name__)
GROUPS = ("dataset", "prompt", "clusterer", "backbone", "pairing", "text", "fusion", "classifier", "method")
_VERSIONED = ("fused_clip", "torch", "open_clip_torch", "scikit-learn", "faiss-cpu", "numpy")
_CONFIG = "config.yaml"
_LATEST = "latest"  # leads to the newest single run, for commands that a reader can copy
_PATIENCE = 5.0  # seconds after which a stage is logged: quick cells stay quiet
_STAGES = {
    "load": "loading the data",
    "embed": "embedding",
    "choose": "choosing the method",
    "pair": "pairing images with prompts",
    "fit": "clustering",
    "classify": "classifying test images",
    "score": "scoring",
    "references": "computing references",
    "figures": "drawing figures",
}


class NamedStages(Stages):
    """Stages of a cell; one that takes more than five seconds is logged while it works.

    Parameters
    ----------
    cell : name of the cell.
    """

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.cell = cell

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage, and log it if it takes long."""
        timer = threading.Timer(_PATIENCE, log.info, ["%s: %s", self.cell, _STAGES.get(stage, stage)])
        timer.daemon = True
        timer.start()
        try:
            with super().__call__(stage):
                yield
        finally:
            timer.cancel()


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
    parent : id of the sweep's parent run.
    sweep_id : tag of the sweep's runs.
    quiet : whether the sweep has logged the notes on its cells.
    """

    options: Options
    cfg: DictConfig
    directory: Path
    output_dir: Path
    choices: dict[str, str]
    overrides: list[str]
    job: bool
    parent: str = ""
    sweep_id: str = ""
    quiet: bool = False

    @classmethod
    def from_hydra(cls, options: Options, cfg: DictConfig, hydra_cfg: HydraConf) -> "Cell":
        """Take the run's place and choices from Hydra's runtime.

        Parameters
        ----------
        options : checked options.
        cfg : the composed config, without Hydra's node.
        hydra_cfg : Hydra's node.
        """
        runtime = hydra_cfg.runtime
        known = hydra_cfg.callbacks.get("sweep", {})
        return cls(
            options,
            cfg,
            Path(runtime.output_dir),
            Path(runtime.cwd) / options.output_dir,
            {group: str(runtime.choices[group]) for group in GROUPS},
            list(hydra_cfg.overrides.task),
            job=hydra_cfg.mode == RunMode.MULTIRUN,
            parent=known.get("parent", ""),
            sweep_id=known.get("sweep_id", ""),
            quiet=known.get("cells", 0) > 0,
        )

    @property
    def name(self) -> str:
        """Such as ``cifar10-grouped-spectral-s0``."""
        parts = (self.choices[group] for group in ("dataset", "prompt", "clusterer"))
        return "-".join([*parts, f"s{self.options.seed}"])

    def run(self) -> float:
        """Run the pipeline; write, draw, log and print; give test accuracy, or NaN where it is undefined."""
        from fused_clip.runner.build import make_tracker

        start = time.perf_counter()
        tracker = make_tracker(self.options.tracking, self.output_dir, self.options.allow)
        if self.job:
            tracker.wait()
        else:
            tracker.close_abandoned()
        key = self._key()  # makes and checks all parts: a run that can't work is never opened
        if not self.quiet:
            self._warn_of_idle()
        self._check_inputs()
        collector.wake()
        wanted = self.job if self.options.resume is None else self.options.resume
        # A job that was killed after its run ended, and before its record: its run must not be doubled.
        begun = self.job and (self.directory / _CONFIG).is_file()
        if not wanted and not begun:
            return self._run(tracker, start)
        return self._run_unless_finished(tracker, key, start, None if wanted else self.directory)

    def _warn_of_idle(self) -> None:
        from fused_clip.runner.idle import idle

        for note in idle(self.options, self._prepared, axes_of(self.overrides)):
            log.warning("%s", note)

    def _run_unless_finished(
        self, tracker: "Tracker", key: str, start: float, within: Path | None = None
    ) -> float:
        from fused_clip.runner import reuse

        with reuse.lock_cell(self.output_dir, key, self.name):
            finished = reuse.find(self.output_dir, key, self._extras(), tracker.has_finished, within)
            return self._reuse(tracker, finished) if finished else self._run(tracker, start)

    def _run(self, tracker: "Tracker", start: float) -> float:
        from fused_clip.model import saved
        from fused_clip.runner import artifacts, console, reuse
        from fused_clip.runner.resources import check_disk, check_memory

        options = self.options
        check_memory(self._prepared)
        check_disk(options, self._prepared, self.output_dir, copied=tracker.copies_files, job=self.job)
        text = OmegaConf.to_yaml(self._resolved(), resolve=True)
        (self.directory / _CONFIG).write_text(text, encoding="utf-8")
        params, tags = self._params(), self._tags()
        with tracker.run(name=self.name, params=params, tags=tags, parent_id=self.parent) as active:
            result = self._result()
            dataset, backbone = self._prepared.dataset, self._prepared.backbone
            kept = artifacts.kept_embeddings(options, dataset, job=self.job)
            artifacts.write(result, self.directory, seed=options.seed, embeddings=kept)
            saved.save(result, dataset.train.images, backbone, self.directory / "model")
            pictures: list[Path] = []
            if options.figures.enabled:
                result, pictures = self._draw(result)
            seconds = {"seconds/total": time.perf_counter() - start}
            result = dataclasses.replace(result, metrics={**result.metrics, **seconds})
            artifacts.write_metrics(result, self.directory)
            artifacts.write_checksums(self.directory)
            active.log(result, self.directory, pictures, self._references())
            # The note counts once the run is FINISHED: killed in between, the cell is missing, not doubled.
            reuse.keep(self.output_dir, self._key(), self.directory, active.run_id, self._extras())
        if self.job:
            self._record(result.metrics, active.run_id)
        else:
            link(self.output_dir / _LATEST, self.directory)
            ui_command, references = tracker.ui_command(), self._references()
            console.print_run(result, self.directory, pictures, ui_command, references)
        return result.metrics.get("test/accuracy", float("nan"))

    def _resolved(self) -> DictConfig:
        """The config with the references in use, which explain the run's metrics."""
        from fused_clip.runner.build import reference_options

        cfg = self.cfg.copy()
        with open_dict(cfg):
            cfg.reference = {name: own.model_dump() for name, own in reference_options(self.options).items()}
        return cfg

    @cached_property
    def _stages(self) -> NamedStages:
        return NamedStages(self.name)

    @cached_property
    def _store(self) -> "Store":
        from fused_clip.store import Store

        return Store(self.output_dir / "store")

    @cached_property
    def _prepared(self) -> "Prepared":
        from fused_clip.runner.build import prepare
        from fused_clip.store.partitions import StoreMemory

        with self._stages("load"):
            return prepare(self.options, StoreMemory(self._store))

    def _key(self) -> str:
        """Key by which a finished run of this cell is found."""
        from fused_clip.runner.reuse import cell_key

        made = self._prepared
        return cell_key(self.options, made.dataset, made.prompts, made.backbone.fingerprint)

    def _check_inputs(self) -> None:
        from fused_clip.runner import user_files

        user_files.check(self.options, self._prepared.dataset, self._prepared.backbone, self.output_dir)

    def _references(self) -> "list[ReferenceFacts]":
        return [reference.facts for reference in self._prepared.references]

    def _record(self, metrics: Mapping[str, float], run_id: str, reused_from: Path | None = None) -> None:
        dataset, backbone = self._prepared.dataset, self._prepared.backbone
        rows = f"{len(dataset.train):,} train and {len(dataset.test):,} test rows"
        record(
            self.directory,
            self.overrides,
            metrics=metrics,
            setting={"dataset": dataset.name, "backbone": backbone.name, "rows": rows},
            references=self._references(),
            run_id=run_id,
            reused_from=reused_from,
        )

    def _extras(self) -> dict[str, str]:
        from fused_clip.runner import artifacts

        return artifacts.extras(self.options, self._prepared.dataset, job=self.job)

    def _reuse(self, tracker: "Tracker", finished: "Finished") -> float:
        dataset, backbone = self._prepared.dataset, self._prepared.backbone
        for split in (dataset.train, dataset.test):  # entries that its keys name stay as long as it is used
            self._store.note_use(backbone, split.images, split.rows)
        tracker.adopt(finished.run_id, self.sweep_id)
        if self.job:
            elsewhere = finished.directory if finished.directory != self.directory else None
            self._record(finished.metrics, finished.run_id, elsewhere)
        else:
            link(self.output_dir / _LATEST, finished.directory)
            print(f"This run is finished already: {finished.directory}")
        return finished.metrics.get("test/accuracy", float("nan"))

    def _result(self) -> Result:
        from fused_clip.pipeline import run

        dataset, backbone, prompts, method, references, _, candidates = self._prepared
        store = self._store
        names = {
            **self.choices,
            "train_images": dataset.train.images.fingerprint,
            "test_images": dataset.test.images.fingerprint,
            "backbone_fingerprint": backbone.fingerprint,
            **backbone_tags(backbone),
            **plugin_tags(),
        }
        result = run(
            dataset,
            prompts,
            backbone,
            store,
            method,
            references=references,
            candidates=candidates,
            draws=self.options.references.draws,
            names=names,
            stages=self._stages,
            warn=not self.quiet,
        )
        if store.embedded_images:
            rate = {"images_per_second": store.embedded_images / store.embedded_seconds}
            result = dataclasses.replace(result, metrics={**result.metrics, **rate})
        return result

    def _draw(self, result: Result) -> tuple[Result, list[Path]]:
        from fused_clip.figures import draw, save

        with self._stages("figures"):
            drawn = draw(result, points=self.options.figures.points, seed=self.options.seed)
            pictures = save(drawn, self.directory / "figures")
        metrics = {**result.metrics, "seconds/figures": self._stages.seconds["figures"]}
        return dataclasses.replace(result, metrics=metrics), pictures

    def _params(self) -> dict[str, Any]:
        options = self.options
        own = {"vote": options.vote, "seed": options.seed, "clusters_per_target": options.clusters_per_target}
        return {**axes_of(self.overrides), **self.choices, **own}

    def _tags(self) -> dict[str, str]:
        found = {f"version.{name}": value for name, value in versions(_VERSIONED).items()}
        return {
            "study": self.options.study,
            "sweep_id": self.sweep_id,
            "directory": str(self.directory),
            "command": " ".join(sys.argv[1:]),
            "overrides": "\n".join(self.overrides) if self.job else "",
            "commit": commit(),
            **self.choices,
            **found,
            **plugin_tags(),
        }


def backbone_tags(backbone: "Backbone") -> dict[str, str]:
    """Tags by which a report knows the weights, the preprocessing and the precision of a run.

    Parameters
    ----------
    backbone : of the run; one that is no `TwoTowerBackbone` has no such tags.
    """
    from fused_clip.backbone.towers import TwoTowerBackbone

    facts = backbone.record if isinstance(backbone, TwoTowerBackbone) else {}
    return {f"backbone_{name}": value for name, value in facts.items()}


def plugin_tags() -> dict[str, str]:
    """Tags with the version of each plugin that is installed."""
    return {f"plugin.{name}": version for name, version in plugin_versions().items()}


@cache
def commit() -> str:
    """Describe the checkout of the package: commit, with ``+`` for local changes; empty without one.

    It is described once in a process, which keeps the code that it has imported.
    """
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
