"""Eight sweeps of the same two cells at once, on one database and one store that are not there yet.

``python -m tests.racing FOLDER ROUNDS`` writes, as a JSON list, what each round left. The processes of a
round are forks of one that has imported everything; they start together.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.forks import warm_up

PROCESSES, CELLS = 8, 2


def sweep(folder: Path) -> list[str]:
    """What the command line is given."""
    return [
        "-m",
        f"seed=range({CELLS})",
        f"output_dir={folder}",
        "dataset=digits",
        "dataset.n_train=60",
        "dataset.n_test=30",
        "clusterer=kmeans",
        "references.enabled=false",
        "figures.enabled=false",
        "backbone._target_=tests.fakes.PixelBackbone",
        "allow=[tests]",
        f"+backbone.log={folder / 'embedded'}",
    ]


def left(folder: Path) -> dict[str, Any]:
    """What is there after a round."""
    from fused_clip.store.entry import StoredEntry
    from fused_clip.tracking import MlflowTracker

    client, experiment = MlflowTracker(folder)._store()
    runs = client.search_runs([experiment])
    entries = [StoredEntry(path) for path in (folder / "store").iterdir() if not path.name.startswith(".")]
    records = [json.loads(path.read_text()) for path in folder.glob("sweeps/*/*/*/record.json")]
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


def start(overrides: Sequence[str], at: float) -> int:
    """Run the command line in a fork, at a given time; give its process id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    from fused_clip.run import main

    code = 1
    try:
        sys.argv = ["fused_clip.run", *overrides]
        os.dup2(2, 1)
        time.sleep(max(0.0, at - time.time()))
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def exit_code(pid: int) -> int:
    """Wait for a process; -9 if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(root: Path, rounds: int) -> None:
    warm_up()
    found = []
    for number in range(rounds):
        folder = root / str(number)
        folder.mkdir(parents=True)
        together = time.time() + 0.5
        racing = [start(sweep(folder), at=together) for _ in range(PROCESSES)]
        codes = [exit_code(pid) for pid in racing]
        # Looked at in a process of its own, so that later forks don't share an open database.
        if os.fork() == 0:
            (folder / "left.json").write_text(json.dumps(left(folder)))
            os._exit(0)
        os.wait()
        found.append({"exit": codes, **json.loads((folder / "left.json").read_text())})
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
