"""Sweeps and shards on Slurm and on Ray: started, looked at, and gone on with until they are finished."""

# The programs are those of this file.
# ruff: noqa: S603

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.cluster.comparison import Cell
from experiments.cluster.daemons import ClusterError
from experiments.cluster.slurm_cluster import SlurmCluster

REPOSITORY = Path(__file__).parents[2]
CHEAP = (
    "dataset=digits",
    "dataset.n_train=200",
    "dataset.n_test=100",
    "figures.enabled=false",
    "references.enabled=false",
)
PROMPTS = ("task", "none", "grouped", "swapped")
CLUSTERERS = ("kmeans", "agglomerative", "gmm", "spectral", "spectral_sklearn")
SECONDS = 5400.0  # that a command may take, on a busy machine
_RUN = (sys.executable, "-m", "fused_clip.run", "-m")
_SWEEP = (sys.executable, "-m", "fused_clip.runner.sweep_command")
_EMBED = (sys.executable, "-m", "fused_clip.embed")


@dataclass(frozen=True)
class Grid:
    """Cells of a sweep: every prompt with every clusterer and seed.

    Parameters
    ----------
    seeds : first, and one after the last.
    prompts, clusterers : names of options.
    """

    seeds: tuple[int, int]
    prompts: Sequence[str] = PROMPTS
    clusterers: Sequence[str] = CLUSTERERS

    @property
    def words(self) -> list[str]:
        """Overrides of the command line."""
        first, stop = self.seeds
        axes = [f"prompt={','.join(self.prompts)}", f"clusterer={','.join(self.clusterers)}"]
        return [*CHEAP, *axes, f"seed=range({first},{stop})"]

    @property
    def cells(self) -> list[Cell]:
        """Its cells, as `experiments.cluster.comparison` names them."""
        every = itertools.product(self.prompts, self.clusterers, range(*self.seeds))
        return [(f"clusterer={c}", f"prompt={p}", f"seed={s}") for p, c, s in every]


@dataclass
class Place:
    """Where commands run.

    Parameters
    ----------
    output_dir : of the product.
    logs : folder for what commands print.
    environment : of commands.
    """

    output_dir: Path
    logs: Path
    environment: Mapping[str, str]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Parameters
        ----------
        words : of its command line.
        """
        process = self.start(*words)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        text = self.last.read_text("utf-8", "replace")
        if "Traceback" in text or "No module" in text:
            raise ClusterError(f"{self.last}: {text[-300:]}")
        return subprocess.CompletedProcess(words, process.returncode, text, text)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command; what it prints goes to a file of its own.

        Parameters
        ----------
        words : of its command line.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        self.last = self.logs / f"{next(self._numbers):04d}.log"
        with self.last.open("ab") as log:
            log.write((" ".join(words) + "\n").encode())
            log.flush()
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env=dict(self.environment),
            )


class Workload:
    """Work that is started, and gone on with by the commands that a user has, until it is finished.

    Parameters
    ----------
    place : where its commands run.
    total : cells or files of it.
    """

    def __init__(self, place: Place, total: int) -> None:
        self.place = place
        self.total = total
        self.finished = False
        self.process: subprocess.Popen[bytes] | None = None  # the command, where it waits for the work
        self.sweeps: list[Path] = []

    def go_on(self) -> None:
        """Do what a user does when nothing runs: look whether all is finished, and go on if not."""
        raise NotImplementedError

    @property
    def active(self) -> bool:
        """Whether something runs or waits to."""
        raise NotImplementedError

    @property
    def done(self) -> int:
        """Number of cells or files that are finished."""
        raise NotImplementedError

    def unfinished(self) -> list[str]:
        """Name what is begun and not finished: what a fault may hit."""
        return []


class _Cells(Workload):
    def __init__(self, place: Place, grid: Grid, words: Sequence[str]) -> None:
        super().__init__(place, len(grid.cells))
        self.words = [*grid.words, f"output_dir={place.output_dir}", *words]

    @property
    def done(self) -> int:
        return len(list((self.place.output_dir / "finished").glob("*.json")))

    def unfinished(self) -> list[str]:
        cells = [cell for sweep in self.sweeps[-1:] for cell in sweep.glob("[0-9]*")]
        return [cell.name for cell in cells if not (cell / "record.json").exists()]


class SlurmSweep(_Cells):
    """A sweep as one array, resubmitted until it is finished.

    Parameters
    ----------
    place : where its commands run.
    grid : its cells.
    slurm : the cluster.
    words : further overrides.
    """

    def __init__(self, place: Place, grid: Grid, slurm: SlurmCluster, words: Sequence[str] = ()) -> None:
        super().__init__(place, grid, ["hydra/launcher=slurm", *words])
        self._slurm = slurm
        self.directory = place.output_dir / "sweeps" / "first"

    @property
    def active(self) -> bool:
        return bool(self._slurm.tasks())

    def go_on(self) -> None:
        if not self.directory.joinpath("cells.json").exists():
            self.place.call(*_RUN, *self.words, f"hydra.sweep.dir={self.directory}")
            self.sweeps = [self.directory]
        elif self.place.call(*_SWEEP, "collect", str(self.directory)).returncode == 0:
            self.finished = True
            return
        else:
            self.place.call(*_SWEEP, "resubmit", str(self.directory))


class RaySweep(_Cells):
    """A sweep as Ray tasks; the same command again until all cells are finished.

    Parameters
    ----------
    place : where its commands run.
    grid : its cells.
    address : of the cluster.
    words : further overrides.
    """

    def __init__(self, place: Place, grid: Grid, address: str, words: Sequence[str] = ()) -> None:
        super().__init__(place, grid, ["hydra/launcher=ray", f"hydra.launcher.address='{address}'", *words])

    @property
    def active(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def go_on(self) -> None:
        if self.process is not None and self.process.returncode == 0:
            self.finished = True
            return
        self.sweeps.append(self.place.output_dir / "sweeps" / f"sweep-{len(self.sweeps)}")
        self.process = self.place.start(*_RUN, *self.words, f"hydra.sweep.dir={self.sweeps[-1]}")


class _Shards(Workload):
    def __init__(self, place: Place, images: Path, shards: int, words: Sequence[str]) -> None:
        super().__init__(place, shards)
        own = ["dataset=imagefolder", f"dataset.root={images}", "backbone=compact"]
        self.words = [*own, f"output_dir={place.output_dir}", f"shards={shards}", *words]

    @property
    def done(self) -> int:
        """Estimated by the shards of which a list of files is there."""
        return len(list((self.place.output_dir / "store").rglob("shard-*.json")))


class SlurmShards(_Shards):
    """Shards as one array; the same command submits what is missing until all is there to be merged.

    Parameters
    ----------
    place : where its commands run.
    images : root of the dataset.
    shards : number of shards.
    slurm : the cluster.
    words : further overrides.
    """

    def __init__(
        self, place: Place, images: Path, shards: int, slurm: SlurmCluster, words: Sequence[str] = ()
    ) -> None:
        super().__init__(place, images, shards, ["hydra/launcher=slurm", *words])
        self._slurm = slurm
        self._merged = False

    @property
    def active(self) -> bool:
        return bool(self._slurm.tasks())

    def go_on(self) -> None:
        if self.place.call(*_EMBED, *self.words, "--status").returncode == 0:
            self.finished = self.place.call(*_EMBED, *self.words, "--merge").returncode == 0
        if not self.finished:
            self.place.call(*_EMBED, *self.words)


class RayShards(_Shards):
    """Shards as Ray tasks; the same command again until it ends well.

    Parameters
    ----------
    place : where its commands run.
    images : root of the dataset.
    shards : number of shards.
    address : of the cluster.
    words : further overrides.
    """

    def __init__(
        self, place: Place, images: Path, shards: int, address: str, words: Sequence[str] = ()
    ) -> None:
        super().__init__(
            place, images, shards, ["hydra/launcher=ray", f"hydra.launcher.address='{address}'", *words]
        )

    @property
    def active(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def go_on(self) -> None:
        if self.process is not None and self.process.returncode == 0:
            self.finished = True
            return
        self.process = self.place.start(*_EMBED, *self.words)


def array_id(text: str) -> str:
    """Find the id of an array in what a command printed.

    Parameters
    ----------
    text : of the command.
    """
    found = re.search(r"array (\d+)", text)
    with contextlib.suppress(AttributeError, TypeError):
        return found[1]  # type: ignore[index]
    raise ClusterError(f"no id of an array in: {text}")
