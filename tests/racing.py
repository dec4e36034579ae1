"""Eight sweeps of the same two cells at once, on one database and one store that are not there yet.

``python -m tests.racing FOLDER ROUNDS`` writes, as a JSON list, what each round left. The processes of a
round are forks of one that has imported everything; they start together.
"""

import importlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.killing import WARM

PROCESSES, CELLS = 8, 2


def sweep(folder: Path, number: int) -> None:
    """Run all cells as one sweep does, with a parent of its own."""
    from fused_clip.cell import GROUPS, Cell, make_tracker
    from fused_clip.config import check
    from fused_clip.sweep import PARENT_VARIABLE, SWEEP_VARIABLE
    from tests.test_config import composed

    common = [
        f"output_dir={folder}",
        "dataset=digits",
        "dataset.n_train=60",
        "dataset.n_test=30",
        "clusterer=kmeans",
        "references.enabled=false",
        "figures.enabled=false",
        "backbone._target_=tests.fakes.PixelBackbone",
        f"+backbone.log={folder / 'embedded'}",
    ]
    tracker = make_tracker(composed(*common))
    tracker.close_abandoned()
    os.environ[SWEEP_VARIABLE] = f"sweep{number}"
    parent = os.environ[PARENT_VARIABLE] = tracker.start_sweep(f"sweep-{number}", {"swept": "seed"})
    for seed in range(CELLS):
        overrides = [*common, f"seed={seed}"]
        cfg = composed(*overrides)
        directory = folder / f"sweep-{number}" / str(seed)
        directory.mkdir(parents=True)
        Cell(check(cfg), cfg, directory, folder, dict.fromkeys(GROUPS, "x"), overrides, job=True).run()
    tracker.end_sweep(parent, [], "FINISHED")


def fork(folder: Path, number: int, start: float) -> int:
    """Start a sweep in a process of its own; give its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        time.sleep(max(0.0, start - time.time()))
        sweep(folder, number)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def left(folder: Path) -> dict[str, Any]:
    """What is there after a round."""
    from fused_clip.store.entry import StoredEntry
    from fused_clip.tracking import MlflowTracker

    client, experiment = MlflowTracker(folder)._store()
    runs = client.search_runs([experiment])
    entries = [StoredEntry(path) for path in (folder / "store").iterdir() if not path.name.startswith(".")]
    records = [json.loads(path.read_text()) for path in folder.glob("sweep-*/*/record.json")]
    return {
        "parents": Counter(run.info.status for run in runs if "swept" in run.data.tags),
        "cells": Counter(run.info.status for run in runs if "seed" in run.data.params),
        "runs": len(runs),
        "notes": len(list((folder / "finished").glob("*.json"))),
        "entries": Counter(entry.folder.name.split("-")[0] for entry in entries if entry.is_complete()),
        "unfinished": sum(not entry.is_complete() for entry in entries),
        "embedded": len((folder / "embedded").read_text().splitlines()),
        "records": Counter("reused" if record["reused_from"] else "run" for record in records),
        "shared": sorted(len(run.data.tags["sweep_id"].split()) for run in runs if "seed" in run.data.params),
    }


def main(root: Path, rounds: int) -> None:
    for module in WARM:
        importlib.import_module(module)
    found = []
    for number in range(rounds):
        folder = root / str(number)
        folder.mkdir(parents=True)
        start = time.time() + 0.5
        racing = [fork(folder, process, start) for process in range(PROCESSES)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in racing]
        # Looked at in a process of its own, so that later forks don't share an open database.
        if os.fork() == 0:
            (folder / "left.json").write_text(json.dumps(left(folder)))
            os._exit(0)
        os.wait()
        found.append({"exit": codes, **json.loads((folder / "left.json").read_text())})
    print(json.dumps(found))


if __name__ == "__main__":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    main(Path(sys.argv[1]), int(sys.argv[2]))
