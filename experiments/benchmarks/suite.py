"""All benchmarks, in the order in which they are shown; another module adds its own with a line here."""

from experiments.benchmarks import clustering
from experiments.benchmarks.measure import Benchmark

BENCHMARKS: tuple[Benchmark, ...] = (*clustering.BENCHMARKS,)
