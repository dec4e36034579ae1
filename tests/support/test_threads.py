"""The cores, divided between the processes of a sweep."""

import os
import subprocess
import sys

import numpy as np
import pytest
from joblib import cpu_count
from threadpoolctl import threadpool_info, threadpool_limits

from fused_clip.support import threads


@pytest.mark.parametrize(("said", "counted"), [("3", 3), ("4,2", 4), (" 1 ", 1)])
def test_what_openmp_may_use_is_what_we_use(said: str, counted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads.count() == counted


@pytest.mark.parametrize("said", [None, "", "0", "many"])
def test_else_it_is_the_cores(said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if said is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads.count() == cpu_count()


@pytest.mark.parametrize(
    ("said", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_waiting_threads_sleep_soon_unless_the_user_says_otherwise(
    said: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "restored after the test")
        monkeypatch.delenv(name)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    threads.wait_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == spins


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("predict.__main__", ["run", "images", "--out", "answers.csv"]),
        ("embed.__main__", ["shard=1/2"]),
        ("run", ["prompt=task"]),
    ],
)
def test_commands_set_it_before_a_library_with_openmp_is_loaded(module: str, words: list[str]) -> None:
    code = f"""
import importlib, sys
command = importlib.import_module("fused_clip.{module}")

def noted():
    print(sorted({{"torch", "faiss", "sklearn"}} & set(sys.modules)))
    raise SystemExit
command.wait_briefly = noted
sys.argv[1:] = {words}
command.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processes tied to cores")
def test_cores_that_are_not_for_this_process_do_not_count() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert threads.count() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def thread_counts() -> list[int]:
    """What our own threads, torch, faiss and the BLAS libraries would use in this process."""
    import faiss
    import scipy.linalg  # noqa: F401
    import torch

    pools = [pool["num_threads"] for pool in threadpool_info()]
    return [threads.count(), torch.get_num_threads(), faiss.omp_get_max_threads(), *pools]


@pytest.mark.slow
def test_the_processes_of_a_sweep_divide_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    from joblib import Parallel, delayed

    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    workers = cpu_count()
    (counts,) = Parallel(n_jobs=max(2, workers))([delayed(thread_counts)()])
    assert len(counts) > 3
    assert set(counts) == {1}


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize(("entries", "limited"), [(threads.SMALL, True), (threads.SMALL + 1, False)])
def test_small_work_runs_in_one_thread_and_large_in_all(entries: int, limited: bool) -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2):
        with threads.limited_for(entries):
            assert blas_threads() == ({1} if limited else {2})
        assert blas_threads() == {2}


def test_threads_come_back_after_an_error() -> None:
    with threadpool_limits(2):
        with pytest.raises(ZeroDivisionError), threads.limited_for(1):
            _ = 1 / 0
        assert blas_threads() == {2}


@pytest.mark.slow
def test_neighbours_of_few_rows_are_searched_in_one_thread() -> None:
    """faiss is loaded by the search itself, after any limit that was set before."""
    code = (
        "import faiss, numpy as np; from fused_clip.method.clusterer import neighbors\n"
        "own, seen = faiss.knn, []\n"
        "def knn(*given): seen.append(faiss.omp_get_max_threads()); return own(*given)\n"
        "faiss.knn = knn; faiss.omp_set_num_threads(2)\n"
        "neighbors.nearest_neighbors(np.random.default_rng(0).random((99, 5)), 3)\n"
        "assert set(seen) == {1} and faiss.omp_get_max_threads() == 2, seen"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_workers_compute_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(threads, "count", lambda: 3)
    before = torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()]

    def numbers(_: int) -> set[int]:
        return {torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())}

    with threads.workers() as pool:
        assert set().union(*pool.map(numbers, range(20))) == {1}
    assert (torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()]) == before
