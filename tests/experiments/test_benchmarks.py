"""The benchmarks' machinery, and that each clustering benchmark runs and finds what it should."""

import json
import math
import sys

import numpy as np
import pytest

from experiments.benchmarks import __main__ as command
from experiments.benchmarks import maps, measure, neighbors, report, scores, spectral, sweeping
from experiments.benchmarks.measure import Benchmark, Results, Run, Timer
from experiments.benchmarks.mixture import GROUPS, mixture
from fused_clip.support.errors import InputError


def nothing(size, timer):
    with timer():
        pass
    return {}


def toy(method, sizes=(10, 20), **changes):
    return Benchmark("toy", method, nothing, sizes, **changes)


TOYS = (toy("ours"), toy("theirs", (20, 40), peer=True), Benchmark("other", "ours", nothing, (5,)))


def run_of(method, size, seconds, task="toy"):
    return Run(task, method, size, seconds, 2 * seconds, 0.5, 0.1, 1.5, "c" * 40 + "+", {"score": seconds})


def settings(**changes):
    given = {
        "tasks": None,
        "sizes": None,
        "largest": None,
        "peers": True,
        "repeats": 2,
        "long": 60,
        "threads": None,
    }
    return command.Settings(**{**given, "results": None, **changes})


@pytest.fixture(autouse=True)
def suite(monkeypatch):
    monkeypatch.setattr(command, "BENCHMARKS", TOYS)


@pytest.fixture
def measured(monkeypatch):
    """What was measured, in order; nothing really is."""
    done = []

    def fake(benchmark, size):
        done.append((benchmark.name, size))
        return run_of(benchmark.method, size, size / 10, benchmark.task)

    monkeypatch.setattr(command, "measure", fake)
    return done


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [(10, ["ours"]), (20, ["ours", "theirs"]), (40, ["theirs"]), (5, ["ours"])]),
        ({"peers": False}, [(10, ["ours"]), (20, ["ours"]), (5, ["ours"])]),
        ({"tasks": ("toy",), "largest": 20}, [(10, ["ours"]), (20, ["ours", "theirs"])]),
        ({"tasks": ("other",), "sizes": (7, 3)}, [(3, ["ours"]), (7, ["ours"])]),
    ],
)
def test_the_plan_puts_methods_side_by_side(changes, expected):
    planned = [(size, [one.method for one in group]) for size, group in command.plan(settings(**changes))]
    assert planned == expected


def test_an_unknown_task_is_named():
    with pytest.raises(InputError, match=r"tasks: is not a task, got 'tor'.*did you mean 'toy'"):
        list(command.plan(settings(tasks=("tor",))))


def test_methods_take_turns_and_a_stopped_run_goes_on(tmp_path, measured):
    chosen = settings(tasks=("toy",), results=tmp_path / "r.json")
    first = Results(tmp_path / "r.json")
    first.add(run_of("ours", 10, 1.0))
    command.run(chosen)
    assert measured == [
        ("toy/ours", 10),
        *[("toy/ours", 20), ("toy/theirs", 20)] * 2,
        *[("toy/theirs", 40)] * 2,
    ]
    command.run(chosen)
    assert len(measured) == 7


def test_what_takes_long_is_run_once(tmp_path, measured):
    command.run(settings(tasks=("toy",), largest=20, long=1.5, results=tmp_path / "r.json"))
    assert measured == [*[("toy/ours", 10)] * 2, ("toy/ours", 20), ("toy/theirs", 20)]


def test_results_of_other_threads_are_not_mixed_in(tmp_path, measured, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    chosen = settings(tasks=("other",), results=tmp_path / "r.json")
    command.run(chosen)
    with pytest.raises(InputError, match="results: contains runs of another machine"):
        command.run(chosen.model_copy(update={"threads": 2}))


def test_results_of_another_machine_are_not_mixed_in(tmp_path):
    path = tmp_path / "r.json"
    Results(path).add(run_of("ours", 10, 1.0))
    stored = json.loads(path.read_text())
    stored["environment"]["cores"] = -1
    path.write_text(json.dumps(stored))
    with pytest.raises(InputError, match="results: contains runs of another machine"):
        Results(path)


def test_the_table_says_ratios_spread_and_exponents(tmp_path):
    results = Results(tmp_path / "r.json")
    for run in (
        *(run_of("ours", size, size / 100 * factor) for size in (100, 1000) for factor in (1, 2, 4)),
        run_of("ours", 1_000_000, 1.0),  # too large to be fitted
        run_of("theirs", 1000, 2000.0),
    ):
        results.add(run)
    table, picture = report.write(results, (toy("ours"), toy("theirs", peer=True)))
    text = table.read_text()
    assert (
        "| ours | 1,000 | 3 | 20 (10 to 40) | 40 | 0.50 | 0.40 | theirs 100.0 (CPU 100.0) | score 20 |"
        in text
    )
    assert "| theirs | 1,000 | 1 | 2,000 | 4,000 | 0.50 | 0.40 |  | score 2000 |" in text
    assert "- ours, 100 to 1,000: time grows as n^1.00, new memory as n^0.00" in text
    assert "Commit ccccccc+." in text
    assert results.environment["processor"] in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_exponents():
    sizes = [10, 100, 1000]
    assert report.exponent(sizes, [3 * size**1.3 for size in sizes]) == pytest.approx(1.3)
    assert math.isnan(report.exponent([10], [1.0]))


@pytest.mark.slow
def test_a_run_is_measured_in_a_process_of_its_own():
    large = np.ones(150_000_000)  # 1.2 GB of the process that measures are not the run's
    timer = Timer()
    run = measure.measure(scores.BENCHMARKS[0], 400)
    assert (run.task, run.method, run.size) == ("silhouette", "fused_clip", 400)
    assert run.seconds > 0
    assert 0 < run.start_gb <= run.peak_gb < 1.2
    assert -1 < run.facts["silhouette"] < 1
    had = measure._peak_gb()
    del large  # nor is what came before the timed part
    with timer():
        pass
    assert timer.start_gb <= timer.peak_gb
    assert sys.platform != "linux" or timer.peak_gb < had - 1


def test_the_mixture_grows_at_its_end():
    rows, group = mixture(10_300)
    np.testing.assert_array_equal(mixture(400)[0], rows[:400])
    np.testing.assert_array_equal(mixture(10_100)[1], group[:10_100])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert len(np.unique(group)) == GROUPS


@pytest.mark.slow
def test_sweeps_are_timed_with_what_they_started(monkeypatch):
    few = ("dataset.n_train=200", "dataset.n_test=100")
    monkeypatch.setattr(sweeping, "COMMON", (*sweeping.COMMON, *few))
    timer = Timer()
    facts = sweeping.sweep(4, timer, ("clusterer=kmeans", "references.enabled=false", "figures.points=100"))
    assert facts["cells_per_minute"] == pytest.approx(240 / timer.seconds)
    assert 0 < facts["figures_seconds_a_cell"] < timer.seconds
    assert timer.cpu_seconds > 1


@pytest.mark.parametrize(
    "benchmark",
    [*neighbors.BENCHMARKS, *spectral.BENCHMARKS, *scores.BENCHMARKS, *maps.BENCHMARKS],
    ids=lambda one: one.name,
)
def test_each_runs_and_agrees_with_its_peers(benchmark):
    timer = Timer()
    facts = benchmark.run(600, timer)
    assert timer.seconds > 0
    assert all(math.isfinite(value) for value in facts.values())
    if benchmark.task == "silhouette":
        assert facts["silhouette"] == pytest.approx(scores.scikit_learn(600, Timer())["silhouette"], abs=1e-4)
