"""How many runs a second MLflow takes from processes at once: SQLite, PostgreSQL, and a server on it.

``python -m experiments.cluster.tracking_load`` prints a table. It fails if a run is lost, doubled or changed.
"""

# The programs are those of this file.
# ruff: noqa: S603

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.cluster.daemons import SECONDS, wait_until
from experiments.cluster.mlflow_server import MlflowServer
from experiments.cluster.postgres_server import PostgresServer
from fused_clip.model.result import Result, SplitResult
from fused_clip.support.checksums import write_sums
from fused_clip.support.errors import InputError
from fused_clip.tracking import MlflowTracker
from fused_clip.tracking.database import all_runs
from fused_clip.tracking.integrity import facts_intact, metrics_intact

if TYPE_CHECKING:
    from mlflow import MlflowClient

_FILES = ("config.yaml", "metrics.json", "predictions.parquet", "result.json")
_STORES = ("SQLite", "PostgreSQL", "server")
_METRICS = 30  # of a run with its references


def main(words: Sequence[str] | None = None) -> int:
    """Measure, or be one of the clients; give 1 if something is lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--runs", type=int, default=48, help="of all clients together (%(default)s)")
    parser.add_argument("--stores", nargs="+", default=_STORES, choices=_STORES)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--client", nargs=4, metavar=("URI", "FOLDER", "NUMBER", "RUNS"))
    options = parser.parse_args(words)
    if options.client:
        uri, folder, number, runs = options.client
        return client(uri, Path(folder), int(number), int(runs))
    print("store,clients,runs,runs_a_second,slowest,fastest,wrong")
    wrong = 0
    with ExitStack() as stack:
        root = Path(stack.enter_context(TemporaryDirectory(prefix="load-")))
        postgres = stack.enter_context(PostgresServer())
        os.environ.update(postgres.environment)
        server = stack.enter_context(MlflowServer(postgres.create("served"), root / "server"))
        for name, clients in ((n, c) for c in options.clients for n in options.stores):
            rates = []
            for number in range(options.repeat):
                folder = root / f"{name}-{clients}-{number}"
                database = f"{name}_{clients}_{number}".lower()
                uri = {
                    "SQLite": lambda folder=folder: f"sqlite:///{folder}/mlflow.db",
                    "PostgreSQL": lambda database=database: postgres.create(database),
                    "server": lambda: server.uri,
                }[name]()
                before = len(found(uri, folder)) if name == "server" else 0
                seconds, faults = load(uri, folder, clients, options.runs // clients, before=before)
                rates.append(options.runs // clients * clients / seconds)
                wrong += len(faults)
                print(*faults, sep="\n", end="", file=sys.stderr)
            shown = [statistics.median(rates), min(rates), max(rates)]
            print(name, clients, options.runs, *(f"{rate:.2f}" for rate in shown), wrong, sep=",", flush=True)
    return int(wrong > 0)


def load(
    uri: str,
    folder: Path,
    clients: int,
    runs: int,
    *,
    before: int = 0,
    meanwhile: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] | None = None,
) -> tuple[float, list[str]]:
    """Log runs by several processes at once; give the seconds it took, and the faults found afterwards.

    Parameters
    ----------
    uri : of the store.
    folder : made; of the runs' files.
    clients : processes.
    runs : of each.
    before : runs that are in the store already.
    meanwhile : is called once the clients log.
    environment : of the clients, in addition.
    """
    folder.mkdir(parents=True)
    MlflowTracker(folder, uri).check()
    words = [sys.executable, "-m", "experiments.cluster.tracking_load", "--client", uri, str(folder)]
    known = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    racing = [
        subprocess.Popen([*words, str(number), str(runs)], env=known, stderr=subprocess.PIPE, text=True)
        for number in range(clients)
    ]
    wait_until(lambda: len(list(folder.glob("ready-*"))) == clients, "clients", 10 * SECONDS)
    start = time.monotonic()
    (folder / "go").touch()
    meanwhile()
    told = [process.communicate()[1] for process in racing]
    seconds = time.monotonic() - start
    faults = [text for process, text in zip(racing, told, strict=True) if process.returncode not in (0, 3)]
    failed = [line for log in sorted(folder.glob("failed-*")) for line in log.read_text().splitlines()]
    print(*failed, sep="\n", end="", file=sys.stderr)
    return seconds, faults + missing(uri, folder, clients * runs - len(failed), before)


def client(uri: str, folder: Path, number: int, runs: int) -> int:
    """Log runs as a cell does; give 3 if some failed, each of which is a line in ``failed-NUMBER``.

    Parameters
    ----------
    uri, folder, runs : as for `load`.
    number : of this client.
    """
    tracker = MlflowTracker(folder, uri)
    tracker.check()
    (folder / f"ready-{number}").touch()
    wait_until(lambda: (folder / "go").exists(), "the start", 10 * SECONDS, pause=0.02)
    failed = []
    for run in range(runs):
        name = f"c{number}-r{run}"
        directory = folder / name
        directory.mkdir()
        for file in _FILES:
            (directory / file).write_bytes(_content(name, file))
        write_sums(directory, _FILES)
        try:
            with tracker.run(name, {"seed": run, "client": number}, {"study": "load"}) as active:
                active.log(_result(name), directory, [])
        except InputError as error:
            failed.append(f"{name} {error}")
    if failed:
        (folder / f"failed-{number}").write_text("\n".join(failed))
    return 3 if failed else 0


def found(uri: str, folder: Path) -> list[Any]:
    """All runs of a store, as MLflow's client gives them.

    Parameters
    ----------
    uri, folder : as for `load`.
    """
    client, experiment_id = MlflowTracker(folder, uri)._store()
    return all_runs(client, experiment_id)


def missing(uri: str, folder: Path, expected: int, before: int) -> list[str]:
    """List the lost, doubled and changed ones of the runs that ended well.

    Parameters
    ----------
    uri, folder, before : as for `load`.
    expected : runs that are to be FINISHED.
    """
    runs = found(uri, folder)[before:]
    client = MlflowTracker(folder, uri)._store()[0]
    finished = [run for run in runs if run.info.status == "FINISHED"]
    names = Counter(run.info.run_name for run in finished)
    faults = [f"{name} is there {count} times" for name, count in names.items() if count > 1]
    if len(finished) != expected:
        faults.append(f"{len(finished)} of {expected} runs are finished")
    return faults + [fault for run in finished for fault in _changed(client, run)]


def _changed(client: MlflowClient, run: Any) -> list[str]:
    name = run.info.run_name
    faults = []
    if not (facts_intact(run) and metrics_intact(run)) or len(run.data.metrics) != _METRICS:
        faults.append(f"{name}: its facts or metrics are not those that were logged")
    if "record_checksum" not in run.data.tags or len(run.inputs.dataset_inputs) != 1:
        faults.append(f"{name}: its checksum or dataset is missing")
    with TemporaryDirectory() as folder:
        for file in _FILES:
            path = Path(client.download_artifacts(run.info.run_id, file, folder))
            if path.read_bytes() != _content(name, file):
                faults.append(f"{name}: {file} is not what was logged")
    return faults


def _content(name: str, file: str) -> bytes:
    """Bytes that no other file has."""
    return hashlib.sha256(f"{name} {file}".encode()).digest() * 1_000


def _result(name: str) -> Result:
    """Random numbers, as many as those of a run."""
    rng = np.random.default_rng(int.from_bytes(name.encode()))
    split = SplitResult(
        ids=tuple(f"row/{row}" for row in range(10)),
        rows=np.arange(10),
        prompts=np.zeros(10, np.int64),
        fused=rng.normal(size=(10, 4)).astype(np.float32),
        targets=np.zeros(10, np.int64),
        clusters=np.zeros(10, np.int64),
        predicted=np.zeros(10, np.int64),
        distances=np.ones(10, np.float32),
        margins=np.ones(10, np.float32),
    )
    return Result(
        dataset="load",
        prompt="task",
        backbone="none",
        target_names=("a",),
        texts=("an a",),
        text_embeddings=np.ones((1, 4), np.float32),
        train=split,
        test=split,
        cluster_targets=np.zeros(1, np.int64),
        cluster_centers=np.zeros((1, 4), np.float32),
        missing_targets=(),
        metrics={f"test/recall/{number}": float(rng.random()) for number in range(_METRICS)},
        tags={"data_source": "random", "data_fingerprint": "0123456789abcdef" * 4},
        uses_labels=True,
        backbone_saw_labels=False,
    )


if __name__ == "__main__":
    sys.exit(main())
