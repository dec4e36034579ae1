"""Try sweeps and shards on a real Slurm, Ray, PostgreSQL and MLflow server: ``make cluster``.

The quick form takes some minutes of two cores: refusals of bad input, then a small sweep and some shards on
Slurm and on Ray, each with a few faults, and compared with what one machine makes. ``--full`` makes
200 faults over 680 cells and 20,000 images. It needs root and Debian, where it installs slurm-wlm, munge and
postgresql.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.cluster import postgres_server, slurm_cluster
from experiments.cluster.daemons import CannotInstallError, ClusterError, install
from experiments.cluster.fault_plan import FULL, QUICK
from experiments.cluster.fault_run import FaultRun
from experiments.cluster.images import make_images
from experiments.cluster.refusals import check
from experiments.cluster.slurm_cluster import SlurmCluster
from experiments.cluster.workloads import Place


def main() -> int:
    """Run the command; the exit code is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m experiments.cluster", description=__doc__)
    parser.add_argument("--full", action="store_true", help="200 faults over 680 cells and 20,000 images")
    parser.add_argument("--folder", type=Path, help="where a full run goes on after an interruption")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--part", action="append", choices=list(FULL.plan), help="one part alone; repeatable")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that daemons and disks are gone as well
    start = time.monotonic()
    try:
        _needs()
        with TemporaryDirectory(prefix="cluster-") as folder:
            place = options.folder or Path(folder)
            run = FaultRun(place, FULL if options.full else QUICK, options.seed)
            good = options.full or _refuses(place)
            good &= run.run(options.part or list(FULL.plan))
    except CannotInstallError as error:
        print(f"left out: {error}")
        return 0
    except ClusterError as error:
        print(f"FAILED: {error}")
        return 1
    print(f"{'all good' if good else 'FAILED'}, {time.monotonic() - start:.0f} s")
    return int(not good)


def _needs() -> None:
    if os.geteuid():
        raise CannotInstallError("Slurm is started as root here")
    install(slurm_cluster.PACKAGES)
    binaries = [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")]
    install(postgres_server.PACKAGES, binaries)


def _refuses(folder: Path) -> bool:
    """Whether bad input is refused; print a line for each."""
    images = make_images(folder / "images", QUICK.images)
    with SlurmCluster() as slurm:
        place = Place(folder / "refused", folder / "logs", {**slurm.environment, "OMP_NUM_THREADS": "1"})
        wrong = 0
        for name, complaint in check(place, images):
            print(f"refused: {name}: {complaint or 'one line'}", flush=True)
            wrong += bool(complaint)
    return not wrong


if __name__ == "__main__":
    sys.exit(main())
