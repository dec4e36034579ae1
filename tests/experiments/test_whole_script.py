"""The whole script against the naive one: what is missing, and that both do the same work."""

import os
from pathlib import Path

import pytest

from experiments.benchmarks import whole_script
from experiments.benchmarks.measure import Timer

FEW = 400
needs_data = pytest.mark.skipif(bool(whole_script.missing_data()), reason=whole_script.missing_data())


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (None, "FUSED_CLIP_DATA is not set: "),
        (("mnist",), "has no Parquet file of cifar10"),
        ((), "has no Parquet file of mnist and cifar10"),
        (("mnist", "cifar10"), ""),
    ],
)
def test_missing_data_are_named(
    folders: tuple[str, ...] | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(whole_script.DATA, raising=False)
    if folders is not None:
        monkeypatch.setenv(whole_script.DATA, str(tmp_path))
        for name in folders:
            (tmp_path / name).mkdir()
            (tmp_path / name / "train-0.parquet").touch()
    said = whole_script.missing_data()
    assert expected in said
    assert bool(said) == bool(expected)


@needs_data
@pytest.mark.slow
def test_ours_and_the_naive_script_agree_on_every_set_and_strategy() -> None:
    ours, naive = Timer(), Timer()
    found = whole_script.ours(FEW, ours, whole_script.SAME_WORK)
    theirs = whole_script.naive(FEW, naive)
    cells = {f"{name} {prompt}" for name in whole_script.SETS for prompt in whole_script.STRATEGIES}
    assert set(found) == set(theirs) == cells
    apart = {cell: abs(found[cell] - theirs[cell]) * whole_script.test_images(FEW) for cell in cells}
    assert max(apart.values()) <= 5.001, apart
    assert min(theirs.values()) > 0.5
    assert ours.cpu_seconds > 1  # of the process that was started
    assert naive.cpu_seconds > 1


def test_stored_cells_are_stored_before_the_time_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[tuple[tuple[str, ...], bool]] = []
    timer = Timer()

    def watched(folder: str, *arguments: str) -> None:
        swept.append((arguments, hasattr(timer, "start_gb")))

    monkeypatch.setattr(whole_script, "sweep", watched)
    for finished in (False, True):
        swept.clear()
        timer = Timer()
        facts = whole_script.stored(FEW, timer, finished=finished)
        (before, early), (timed, late) = swept
        assert (early, late) == (False, True)
        assert (before == timed) == finished
        assert set(timed) <= set(before)
        assert facts["cells_per_minute"] == pytest.approx(480 / timer.seconds)


@needs_data
def test_the_naive_script_draws_what_ours_draws() -> None:
    from fused_clip.dataset import Recipe, hub

    recipe = Recipe(name="mnist", n_train=FEW, n_test=whole_script.test_images(FEW))
    ours = hub(recipe, data_dir=os.environ[whole_script.DATA])
    assert whole_script._drawn("mnist", FEW) == {
        "train": ours.train.rows.tolist(),
        "test": ours.test.rows.tolist(),
    }
