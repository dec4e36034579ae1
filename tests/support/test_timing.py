import pytest

from fused_clip.support.timing import duration, rough_duration


@pytest.mark.parametrize(
    ("seconds", "text", "rough"),
    [
        (0, "0.0 s", "0 s"),
        (8.44, "8.4 s", "8 s"),
        (89, "1 min 29 s", "89 s"),
        (200, "3 min 20 s", "3 min"),
        (3_900, "1 h 5 min", "65 min"),
        (6_000, "1 h 40 min", "1.7 h"),
        (200_000, "55 h 33 min", "2.3 d"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, text: str, rough: str) -> None:
    assert duration(seconds) == text
    assert rough_duration(seconds) == rough


def test_a_duration_that_is_unknown() -> None:
    assert duration(float("nan")) == "-"
