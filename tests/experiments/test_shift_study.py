"""The study of shift: its alterations by hand, and draws in which no image is on both sides."""

import numpy as np
import pytest

from experiments.guarantees.sets import Pool
from experiments.shift import __main__ as study
from experiments.shift.kinds import NONE, _blurred, _darkened, kinds


def pool(count: int) -> Pool:
    rows = np.arange(count, dtype=np.float32)[:, None]
    return Pool(rows, np.zeros(count, int), ("one",))


def test_dark_images_have_a_share_of_the_light() -> None:
    image = np.array([[[0, 101, 255]]], dtype=np.uint8)
    assert _darkened(image, 0.5).tolist() == [[[0, 50, 128]]]
    assert _darkened(image, 0.5).dtype == np.uint8


def test_blurred_images_are_smoother_the_wider_the_blur() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    sharpness = [
        float(np.abs(np.diff(_blurred(image, radius).astype(int), axis=0)).mean()) for radius in (0.5, 1, 2)
    ]
    assert float(np.abs(np.diff(image.astype(int), axis=0)).mean()) > sharpness[0]
    assert sharpness == sorted(sharpness, reverse=True)
    assert _blurred(image, 2).mean() == pytest.approx(image.mean(), abs=2)


def test_every_data_set_is_tested_without_a_shift_first() -> None:
    assert [kinds(name)[0] for name in study.DATASETS] == [NONE, NONE]
    assert len(kinds("cifar10")) == len(set(kinds("cifar10"))) == 9


def test_without_a_shift_no_image_is_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "CALIBRATION", 60)
    whole = pool(100)
    for known, new in study._drawn(whole, whole, 30, 5, np.random.default_rng(0)):
        assert (len(known.rows), len(new.rows)) == (60, 30)
        assert not set(known.rows[:, 0]) & set(new.rows[:, 0])


def test_the_table_counts_withdrawals_and_gives_coverage() -> None:
    counts = {f"withdrawn {size}": number for number, size in enumerate(study.SIZES)}
    common = {"dataset": "mnist", "backbone": "open", "draws": 20, **counts}
    covered = {"coverage all": [0.9, 0.01], "coverage target": [0.91, 0.02]}
    first, second = study.table([{**common, "kind": NONE, **covered}, {**common, "kind": "fashion"}])
    assert first["100 images"] == "2 of 20"
    assert first["coverage of .9"] == "0.900 ± 0.010"
    assert second[".9 per target"] == "no target is true"
