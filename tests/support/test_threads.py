"""The cores, divided between the processes of a sweep."""

import os

import pytest
from joblib import cpu_count

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
    from threadpoolctl import threadpool_info

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
