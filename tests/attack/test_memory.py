"""Limits of memory: told in a line, nothing that was there is lost, and no run is left open.

Most limits are set in a fork, beyond what the libraries have mapped; some before Python starts.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fused_clip.support.memory import size
from tests.attack.scale import FULL, record, tries
from tests.attack.test_faults import NOISE, Place, place
from tests.forks import QUICK, ROOT, Commands, Done

__all__ = ["place"]
SWEEP = ("-m", "seed=0,1,2", "study=memory")
# Libraries in C that end the process by themselves say so in a line of their own.
ENDED = re.compile(r"memory|thread|allocat|std::bad_alloc", re.IGNORECASE)


def kinds(root: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    quick = (*QUICK, "dataset.seed=0", f"output_dir={root / 'out'}")
    predict = (
        str(root / "model"),
        str(root / "pictures" / "a"),
        "--out",
        str(root / "new.csv"),
        "--overwrite",
    )
    return {
        "run": ("run", ("clusterer=agglomerative", *(word for word in quick if "kmeans" not in word))),
        "sweep": ("run", (*SWEEP, *quick)),
        "predict": ("predict", predict),
    }


def wrongs(done: Done, place: Place) -> list[str]:
    """What is wrong with how a command ended."""
    found = []
    if done.code is None:
        found.append("hangs")
    if done.traceback or any(noise in done.said for noise in NOISE if noise != "Fatal Python error"):
        found.append("shows a traceback")
    lines = [line for line in done.said.splitlines() if re.search(r"^Error: |ERROR\]|FAILED", line)]
    if (
        done.code
        and done.code > 0
        and not any(ENDED.search(line) for line in lines or done.said.splitlines())
    ):
        found.append("is not told")
    now = place.contents()
    found += [
        f"{name} is changed or lost" for name, digest in place.before.items() if now.get(name) != digest
    ]
    return found


@pytest.mark.slow
def test_a_limit_is_told_and_loses_nothing(commands: Commands, place: Place) -> None:
    counts: Counter[str] = Counter()
    complaints = []
    for name, (command, words) in kinds(place.root).items():
        for limit in np.geomspace(4e6, 1.2e9, tries(2, 10)).astype(int).tolist():
            place.restore()
            done = commands(command, *words, address_space=limit, timeout=60)
            wrong = wrongs(done, place)
            if place.running():
                counts["left_running_at_once"] += 1
                after = commands("run", *kinds(place.root)["run"][1])
                wrong += [f"left running: {after.said[-300:]}"] if place.running() or after.code else []
            counts["limits"] += 1
            counts["went_well" if done.code == 0 else "told"] += 1
            if wrong:
                complaints.append(f"{name} {limit}: {wrong}\n{done.said[-1500:]}")
    for gigabytes in (0.3, 0.6, 1, 1.3, 2, 6) if FULL else ():
        place.restore()
        done = limited(gigabytes, *kinds(place.root)["sweep"][1])
        wrong = wrongs(done, place)
        counts["limits_of_a_process"] += 1
        counts["went_well" if done.code == 0 else "told"] += 1
        if wrong or place.running():
            complaints.append(f"{gigabytes} GB: {wrong} {place.running()}\n{done.said[-1500:]}")
    record("memory", **counts, wrong=len(complaints))
    assert not complaints, "\n".join(complaints)


def limited(gigabytes: float, *words: str) -> Done:
    """A run in a process of its own, whose address space has a limit from its start."""
    limit = ["prlimit", f"--as={int(gigabytes * 1e9)}", sys.executable, "-m", "fused_clip.run", *words]
    try:
        done = subprocess.run(limit, cwd=ROOT, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return Done(None, "", "", 300)
    return Done(done.returncode, done.stdout, done.stderr, 0)


@pytest.mark.slow
def test_too_small_a_limit_for_the_libraries_is_told_before_they_are_loaded(tmp_path: Path) -> None:
    done = limited(0.6, *QUICK, f"output_dir={tmp_path}")
    assert done.code == 1
    assert re.fullmatch(
        r"Error: memory: the libraries take about 1\.0 GB .*, and \d+ MB are free.*\n", done.err
    )


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [(), ("-m", "seed=0,1")], ids=["run", "sweep"])
def test_a_run_that_can_not_fit_is_refused_before_it_starts(
    sweep: tuple[str, ...], commands: Commands, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    rows = {"vectors": generator.normal(size=(30_000, 8)).astype(np.float32)}
    np.savez(tmp_path / "rows.npz", **rows, labels=np.arange(30_000) % 3)
    words = [
        "dataset=embeddings",
        f"dataset.path={tmp_path / 'rows.npz'}",
        "prompt=none",
        "clusterer=agglomerative",
    ]
    done = commands("run", *sweep, *words, f"output_dir={tmp_path}", "tracking=none", address_space=2 << 30)
    need = size(8 * 24_000**2)
    assert done.code == 1
    assert re.search(
        rf"{re.escape(need)} for AgglomerativeClustering on 24,000 of them.*2\.\d GB are free", done.err
    )
    assert done.err.startswith("Error: memory: the run takes about ")
    assert len(done.err.splitlines()) == 1
    assert not list(tmp_path.glob("store/*"))
