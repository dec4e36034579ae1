import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.report.studies.published import load, tolerance, verdict


def test_the_published_table_is_whole() -> None:
    published = load()
    prompts = {prompt for _, prompt, _ in published.numbers}
    assert prompts == {"task", "none", "swapped", "grouped"}
    assert len(published.splits) == 7
    assert len(published.numbers) == 7 * 4 * 4
    assert all(0 < value < 1 for value in published.numbers.values())
    assert published.numbers["mnist", "task", "test/accuracy"] == 0.85
    assert published.numbers["cifar100_5", "grouped", "train/ami"] == 0.7306


@pytest.mark.parametrize(
    ("cell", "corrected"),
    [
        (("mnist", "none", "test/accuracy"), True),
        (("mnist", "none", "train/ari"), False),
        (("mnist", "grouped", "test/accuracy"), False),
        (("cifar100_4", "grouped", "test/accuracy"), True),
        (("cifar10", "swapped", "train/ami"), True),
        (("cifar100_1", "swapped", "train/ami"), False),
        (("cifar10", "task", "test/accuracy"), False),
    ],
)
def test_what_can_not_stand_says_why(cell: tuple[str, str, str], corrected: bool) -> None:
    assert (cell in load().corrections) == corrected


@pytest.mark.parametrize(
    ("spread", "expected"), [(0, 0.01), (0.004, 0.01), (0.007, 0.014), (0.02, 0.03), (1, 0.03)]
)
def test_the_tolerance_is_two_deviations_within_bounds(spread: float, expected: float) -> None:
    assert tolerance(spread) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("published", "measured", "comparable", "expected"),
    [
        (None, [0.5], True, ""),
        (0.5, [], True, "not measured"),
        (0.5, [0.5], False, "not comparable"),
        (0.5, [0.51], True, "reproduced"),
        (0.5, [0.5101], True, "not reproduced"),
        (0.5, [0.52, 0.53], True, "not reproduced"),
        (0.5, [0.51, 0.53], True, "reproduced"),
        (0.5, [0.4, 0.7], True, "not reproduced"),
        (0.5, [0.47, 0.53], True, "reproduced"),
    ],
)
def test_a_verdict_by_hand(
    published: float | None, measured: list[float], comparable: bool, expected: str
) -> None:
    assert verdict(published, measured, comparable=comparable) == expected


@given(
    published=st.floats(0, 1),
    measured=st.lists(st.floats(0, 1), min_size=2, max_size=6),
    comparable=st.booleans(),
)
def test_a_verdict_is_the_rule(published: float, measured: list[float], comparable: bool) -> None:
    got = verdict(published, measured, comparable=comparable)
    off, bound = abs(published - np.mean(measured)), min(max(2 * np.std(measured, ddof=1), 0.01), 0.03)
    if not comparable:
        assert got == "not comparable"
    elif abs(off - bound) > 1e-8:
        assert got == ("reproduced" if off < bound else "not reproduced")
