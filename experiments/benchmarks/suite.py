"""All benchmarks, in the order in which they are shown; another module adds its own with a line here."""

from experiments.benchmarks import maps, scores, spectral
from experiments.benchmarks.measure import Benchmark

BENCHMARKS: tuple[Benchmark, ...] = (
    *spectral.BENCHMARKS,
    *scores.BENCHMARKS,
    *maps.BENCHMARKS,
)
