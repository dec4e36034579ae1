import os
import subprocess
import sys

import faiss
import pytest

from fused_clip.method.clusterer.openmp import load_faiss

# All libraries with an OpenMP runtime work in parallel in one process, each after the others.
TOGETHER = """
import warnings
warnings.simplefilter("error")
import numpy as np, torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info
from fused_clip.method.clusterer import SpectralClustering
from fused_clip.figures.projection import project
torch.set_num_threads(2)
rows = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
for _ in range(2):
    torch.from_numpy(rows).matmul(torch.ones(16, 3000)).sum()
    SpectralClustering(3, approximate=True, random_state=0).fit(rows)
    KMeans(3, n_init=1).fit(rows)
    project(rows[:200], seed=0)
threadpool_info()  # warns of runtimes that must not be mixed
print({one["prefix"] for one in threadpool_info() if one["user_api"] == "openmp"})
"""


def test_runtimes_get_on_in_one_process():
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    if sys.platform == "linux":
        assert done.stdout.strip() == "{'libgomp'}"


@pytest.fixture
def threads():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    yield
    faiss.omp_set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_faiss_keeps_to_one_thread_on_macos_alone(monkeypatch):
    monkeypatch.delenv("KMP_DUPLICATE_LIB_OK", raising=False)
    load_faiss()
    assert faiss.omp_get_max_threads() == 2
    assert "KMP_DUPLICATE_LIB_OK" not in os.environ
    monkeypatch.setattr(sys, "platform", "darwin")
    load_faiss()
    assert faiss.omp_get_max_threads() == 1
    assert os.environ["KMP_DUPLICATE_LIB_OK"] == "TRUE"
