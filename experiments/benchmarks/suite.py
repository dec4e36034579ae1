"""All benchmarks, in the order in which they are shown; another module adds its own with a line here."""

from experiments.benchmarks import (
    embedding,
    maps,
    neighbors,
    one_cell,
    precision,
    predicting,
    preprocessing,
    scores,
    spectral,
    sweeping,
    threads,
    whole_script,
)
from experiments.benchmarks.measure import Benchmark

BENCHMARKS: tuple[Benchmark, ...] = (
    *whole_script.BENCHMARKS,
    *embedding.BENCHMARKS,
    *predicting.BENCHMARKS,
    *preprocessing.BENCHMARKS,
    *precision.BENCHMARKS,
    *neighbors.BENCHMARKS,
    *spectral.BENCHMARKS,
    *one_cell.BENCHMARKS,
    *scores.BENCHMARKS,
    *maps.BENCHMARKS,
    *sweeping.BENCHMARKS,
    *threads.BENCHMARKS,
)
