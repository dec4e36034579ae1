"""What a sweep is going to do, told before it starts: cells to run, cells to reuse, and disk."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, open_dict

from fused_clip.runner.build import make_parts
from fused_clip.runner.config import Options, check
from fused_clip.runner.jobs import planned_jobs
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from fused_clip.runner.build import Parts

# Measured; the tests say how near the sum comes.
_ROW_BYTES = 40  # a row of predictions.parquet and its keys
_FIGURE_BYTES = 1_400_000  # all figures of a run, as PNG and PDF
_GRID_BYTES = 900_000  # their copies for the image grid
_RUN_BYTES = 150_000  # configs, logs, and the run's part of the tracking database


@dataclass(frozen=True)
class Forecast:
    """What a sweep is going to do.

    Parameters
    ----------
    cells : in the sweep.
    finished : of these, how many are finished already and are going to be reused.
    need, free : bytes that the others are going to write, about, and bytes that there are.
    """

    cells: int
    finished: int
    need: int
    free: int

    def check(self, output_dir: Path) -> None:
        """Refuse what does not fit.

        Raises
        ------
        InputError
            If less disk is free than the sweep needs.
        """
        if self.need > self.free:
            rule = f"the sweep takes about {megabytes(self.need)} and {megabytes(self.free)} are free"
            hint = "Free space, choose another folder, or leave out figures.enabled"
            raise InputError("output_dir", rule, str(output_dir), hint=hint)


def megabytes(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def forecast(config: DictConfig, tracker: Any, output_dir: Path) -> Forecast | None:
    """Look at every cell of a sweep; None for a sweeper that decides as it goes.

    A cell whose options or parts are wrong counts as one to run: its job tells what is wrong.

    Parameters
    ----------
    config : the config of a sweep with its ``hydra`` node; Hydra must be running.
    tracker : as the sweep uses it.

    Raises
    ------
    InputError
        If the options or parts of every cell are wrong: what is wrong with the first.
    """
    jobs = planned_jobs(config)
    if not jobs:
        return None
    store: dict[str, int] = {}
    finished = need = 0
    wrong: list[Exception] = []
    for job in _configs(config, jobs):
        try:
            options = check(job)
            parts = make_parts(options)
            if _is_finished(options, parts, tracker, output_dir):
                finished += 1
                continue
        except Exception as error:  # whatever it is, the job meets it too, and tells
            wrong.append(error)
            continue
        store |= _store_bytes(parts, output_dir, store)
        need += run_bytes(options, parts, copied=tracker.copies_files)
    if len(wrong) == len(jobs) and all(isinstance(error, InputError) for error in wrong):
        raise wrong[0]
    free = shutil.disk_usage(output_dir).free
    return Forecast(len(jobs), finished, need + sum(store.values()), free)


def run_bytes(options: Options, parts: "Parts", *, copied: bool) -> int:
    """Bytes that a job writes, about, apart from embeddings in the store.

    Parameters
    ----------
    copied : whether its files are kept a second time, by the tracking store.
    """
    from fused_clip.runner import artifacts

    dataset, backbone = parts
    splits = (len(dataset.train), len(dataset.test))
    classes = len(dataset.class_names)
    vectors = classes * (options.clusters_per_target + 1)  # centroids and texts
    if artifacts.kept_embeddings(options, dataset, job=True) == "fused":
        vectors += sum(min(rows, artifacts.MAX_ROWS) for rows in splits)
    files = 4 * vectors * backbone.dim + _ROW_BYTES * sum(splits)
    figures = _FIGURE_BYTES if options.figures.enabled else 0
    others = 1 + options.references.draws if options.references.enabled else 0  # image-only, rotated text
    partitions = 8 * splits[0] * (1 + others)
    grid = _GRID_BYTES if options.figures.enabled and copied else 0
    return (files + figures) * (2 if copied else 1) + grid + partitions + _RUN_BYTES


def _configs(config: DictConfig, jobs: list[list[str]]) -> Iterator[DictConfig]:
    """The config of each job, without Hydra's."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    loader = GlobalHydra.instance().config_loader()
    try:
        for job in jobs:
            cfg = loader.load_sweep_config(config, job)
            HydraConfig.instance().set_config(cfg)
            with open_dict(cfg):
                del cfg["hydra"]
            yield cfg
    finally:
        HydraConfig.instance().set_config(config)


def _is_finished(options: Options, parts: "Parts", tracker: Any, output_dir: Path) -> bool:
    from fused_clip.runner import artifacts, reuse

    if options.resume is False:
        return False
    dataset, backbone = parts
    key = reuse.cell_key(options, dataset, backbone.fingerprint)
    extras = artifacts.extras(options, dataset, job=True)
    return reuse.find(output_dir, key, extras, tracker.has_finished) is not None


def _store_bytes(parts: "Parts", output_dir: Path, planned: Mapping[str, int]) -> dict[str, int]:
    """Bytes of each entry that the store is going to get besides those planned already."""
    from fused_clip.store import Store

    dataset, backbone = parts
    store = Store(output_dir / "store")
    missing: dict[str, int] = {}
    for split in (dataset.train, dataset.test):
        missing |= store.missing(backbone, split.images, split.rows, {**planned, **missing})
    return missing
