"""The memory that clusterers take, against what a fit takes."""

import subprocess
import sys

import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.mixture import GaussianMixture

from fused_clip.method.clusterer import KeepClasses
from fused_clip.method.clusterer.footprint import clusterer_bytes


@pytest.mark.parametrize(
    ("clusterer", "need"),
    [
        (AgglomerativeClustering(), 8 * 1_000**2),
        (KeepClasses(AgglomerativeClustering()), 8 * 1_000**2),
        (AgglomerativeClustering(connectivity=[[1]]), 0),
        (SpectralClustering(), 24 * 1_000**2),
        (SpectralClustering(affinity="nearest_neighbors"), 0),
        (GaussianMixture(), 8 * (3 * 5 * 16**2 + 3 * 1_000 * 21)),
        (KMeans(), 0),
    ],
    ids=str,
)
def test_what_compares_all_pairs_grows_with_their_number(clusterer: BaseEstimator, need: int) -> None:
    assert clusterer_bytes(clusterer, 1_000, 16, 5) == need


PEAK = """
import numpy as np
from sklearn.cluster import AgglomerativeClustering, SpectralClustering
from fused_clip.method.clusterer.footprint import clusterer_bytes

def peak():
    return 1024 * int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))

made = {made}
rows = np.random.default_rng(0).normal(size=({rows}, 8)).astype(np.float32)
made.__class__(n_clusters=3).fit(rows[:100])
before = peak()
made.fit(rows)
print((peak() - before) / clusterer_bytes(made, {rows}, 8, 3))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("made", "rows"), [("AgglomerativeClustering(3)", 6_000), ("SpectralClustering(3, n_init=1)", 2_000)]
)
def test_the_estimate_is_near_what_a_fit_takes(made: str, rows: int) -> None:
    code = PEAK.format(made=made, rows=rows)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1 / 1.5 < float(done.stdout) < 1.5
