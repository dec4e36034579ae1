"""The benchmarks' machinery, and that each clustering benchmark runs and finds what it should."""

import json
import math
import sys

import numpy as np
import pytest

from experiments.benchmarks import __main__ as command
from experiments.benchmarks import (
    maps,
    measure,
    neighbors,
    one_cell,
    page,
    promises,
    report,
    scores,
    spectral,
    sweeping,
)
from experiments.benchmarks import mixture as drawing
from experiments.benchmarks.machine import slug
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


def run_of(method, size, seconds, task="toy", date="2026-11-30", **facts):
    facts = facts or {"score": seconds}
    return Run(task, method, size, seconds, 2 * seconds, 0.5, 0.1, 1.5, "c" * 40 + "+", facts, date)


def results_of(path, *runs):
    results = Results(path)
    for run in runs:
        results.add(run)
    return results


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


def test_what_the_machine_lacks_data_for_is_left_out_with_the_reason(tmp_path, measured, monkeypatch, caplog):
    lacking = Benchmark("toy", "lacking", nothing, (10,), missing=lambda: "DATA is not set")
    monkeypatch.setattr(command, "BENCHMARKS", (lacking, *TOYS))
    with caplog.at_level("WARNING"):
        command.run(settings(tasks=("toy",), largest=10, results=tmp_path / "r.json"))
    assert measured == [("toy/ours", 10)] * 2
    assert [record.message for record in caplog.records] == ["toy/lacking is left out: DATA is not set"]


def test_the_study_of_threads_is_run_if_it_is_named(monkeypatch):
    monkeypatch.setattr(command, "BENCHMARKS", (*TOYS, Benchmark("threads", "ours", nothing, (1,))))
    assert "threads" not in {one.task for _, group in command.plan(settings()) for one in group}
    ((size, (one,)),) = command.plan(settings(tasks=("threads",)))
    assert (size, one.task) == (1, "threads")


def test_a_machine_has_its_own_file(tmp_path, measured, monkeypatch):
    monkeypatch.setattr(command, "HERE", tmp_path)
    command.run(settings(tasks=("other",)))
    (file,) = tmp_path.glob("results/*.json")
    assert Results(file).runs[0].task == "other"
    assert file.stem == slug(Results(file).environment)


@pytest.mark.parametrize(
    ("processor", "threads", "expected"),
    [
        ("AMD EPYC (cpu family 26, model 2)", 2, "amd-epyc-26-2-2-cores"),
        (
            "Intel(R) Xeon(R) Processor (cpu family 6, model 167)",
            1,
            "intel-xeon-processor-6-167-2-cores-1-threads",
        ),
    ],
)
def test_the_file_of_a_machine_is_named_by_processor_cores_and_threads(processor, threads, expected):
    assert slug({"processor": processor, "cores": 2, "threads": threads}) == expected


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
        Results(path).check_machine()
    assert len(Results(path).runs) == 1  # to be shown


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
    assert "Measured 2026-11-30, commit ccccccc+." in text
    assert results.environment["processor"] in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_large_sizes_alone_have_no_exponent(tmp_path):
    results = results_of(
        tmp_path / "r.json", *(run_of("ours", size, 5.0) for size in (1_000_000, 10_000_000))
    )
    assert "time grows as" not in report.text(results, (toy("ours"),))


def test_ratios_have_the_range_of_their_turns(tmp_path):
    ours, theirs = (
        [run_of(name, 10, seconds) for seconds in taken]
        for name, taken in (("ours", (1, 2, 4)), ("theirs", (10, 30, 20)))
    )
    results = results_of(tmp_path / "r.json", *ours, *theirs)
    table, _ = report.write(results, (toy("ours", (10,)), toy("theirs", (10,), peer=True)))
    assert "theirs 10.0 (5.0 to 15.0; CPU 10.0)" in table.read_text()


def test_the_page_shows_the_machine_that_was_measured_last(tmp_path):
    folder = tmp_path / "results"
    for name, dates in (
        ("late", ("2026-01-02", "2026-03-05")),
        ("early", ("2026-02-01",)),
    ):
        runs = [run_of("ours", 10, 1.0, date=date) for date in dates]
        results = results_of(folder / f"{name}.json", *runs)
        report.write(results, TOYS)
    text = page.page(folder)
    assert text.startswith("![Seconds and new memory against n](results/late.png)")
    assert "Measured 2026-01-02 to 2026-03-05" in text
    assert "measured 2026-02-01: [tables](results/early.md), [figure](results/early.png)" in text
    (folder / "early.json").unlink()
    assert "Other machines" not in page.page(folder)


def test_the_tables_of_every_machine_are_those_of_its_runs():
    from experiments.benchmarks.suite import BENCHMARKS

    for results in (*page.machines(page.HERE / "results"), Results(page.HERE / "threads.json")):
        assert report.text(results, BENCHMARKS) == results.path.with_suffix(".md").read_text("utf-8")


def test_a_promise_is_kept_by_the_median_of_the_turns(tmp_path):
    ours = [run_of("ours", 10, seconds, promised=value) for seconds, value in ((1, 0.1), (2, 0.2), (2, 0.4))]
    theirs = [run_of("theirs", 10, seconds) for seconds in (4, 8, 20)]
    results = results_of(tmp_path / "r.json", *ours, *theirs)

    def row(values, *bound, **chosen):
        return promises.Promise("aim", lambda _: values, *bound, **chosen).row(results)

    faster = promises.ratio(results, "toy", "ours", "theirs", 10)
    assert faster == [4, 4, 10]
    assert row(faster, 4) == "| aim | at least 4 times | 4 times (4 to 10, n = 3) | kept |"
    assert row(faster, 4.1).endswith("| **missed** |")
    values = promises.facts(results, "toy", "ours", 10, "promised")
    assert (
        row(values, 0.2, "at most", unit="s") == "| aim | at most 0.2 s | 0.2 s (0.1 to 0.4, n = 3) | kept |"
    )
    assert row(values, 0.19, "at most", unit="").endswith("| **missed** |")
    assert row([], 4) == "| aim | at least 4 times | not measured | |"
    assert row([5], 4) == "| aim | at least 4 times | 5 times, n = 1 | kept |"


def test_promises_find_what_they_are_about(tmp_path):
    """Each is of a benchmark that there is, at a size that it is run at."""
    from experiments.benchmarks.suite import BENCHMARKS

    everything = {
        "of_bound": 1,
        "times_ViT-B/32": 1,
        "of_plain_embedding": 1,
        "of_encoder": 1,
        "least ARI to exact": 1,
        "seconds_a_model": 1,
        "figures_seconds_a_cell": 1,
    }
    results = results_of(tmp_path / "r.json")
    results.runs = [
        run_of(one.method, size, 1.0, one.task, **everything) for one in BENCHMARKS for size in one.sizes
    ]
    assert [promise.text for promise in promises.PROMISES if not promise.values(results)] == []


def test_the_largest_difference_of_accuracy_is_in_images(tmp_path):
    ours = run_of("ours", 2_000, 1.0, "whole script", mnist=0.99, cifar=0.8)
    theirs = run_of("naive script", 2_000, 1.0, "whole script", mnist=0.99, cifar=0.806)
    results = results_of(tmp_path / "r.json", ours, theirs)
    assert promises.images_apart(results, "ours") == [3]


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
    few = ("dataset=digits", "dataset.n_train=200", "dataset.n_test=100", "tracking=none")
    pixels = ("backbone._target_=tests.fakes.PixelBackbone", "allow=[tests]")
    monkeypatch.setattr(sweeping, "COMMON", (*few, *pixels))
    monkeypatch.setattr(sweeping, "PROMPTS", ("task", "none"))
    timer = Timer()
    facts = sweeping.sweep(2, timer, ("clusterer=kmeans", "references.enabled=false", "figures.points=100"))
    assert facts["cells_per_minute"] == pytest.approx(120 / timer.seconds)
    assert 0 < facts["figures_seconds_a_cell"] < timer.seconds
    assert timer.cpu_seconds > 1


@pytest.mark.slow
def test_a_cell_of_vectors_is_timed_with_its_process():
    timer = Timer()
    assert one_cell.cell(1_000, timer)["test accuracy"] > 0.5
    assert timer.cpu_seconds > 1
    assert timer.peak_gb > 0.2


@pytest.mark.parametrize(
    "benchmark",
    [*neighbors.BENCHMARKS, *spectral.BENCHMARKS, *scores.BENCHMARKS, *maps.BENCHMARKS],
    ids=lambda one: one.name,
)
def test_each_runs_and_agrees_with_its_peers(benchmark, monkeypatch):
    monkeypatch.setattr(drawing, "DIGITS", slice(None, None, 10))  # to embed them all takes seconds
    timer = Timer()
    facts = benchmark.run(600, timer)
    assert timer.seconds > 0
    assert all(math.isfinite(value) for value in facts.values())
    if benchmark.task == "silhouette":
        assert facts["silhouette"] == pytest.approx(scores.scikit_learn(600, Timer())["silhouette"], abs=1e-4)
