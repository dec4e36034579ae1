"""Rows of a table of answers, by hand."""

import dataclasses

import numpy as np
import pytest

from fused_clip.model.predictions import Predictions, check_further, further_columns
from fused_clip.support.errors import InputError

NAMES = ("cat", "dog", "truck")
TWO = Predictions(
    names=NAMES,
    answers=np.array([2, 0]),
    runners_up=np.array([0, -1]),
    clusters=np.array([5, 1]),
    distances=np.array([0.1, 3.0]),
    margins=np.array([0.1, np.inf]),
    probabilities=np.array([[0.3, 0.1, 0.6], [1.0, 0.0, 0.0]]),
    scores=np.array([[-1.2, -2.3, -0.5], [0.0, -np.inf, -np.inf]]),
)
UNCALIBRATED = dataclasses.replace(TWO, probabilities=None)


def test_a_row_says_what_was_answered_in_single_precision() -> None:
    assert list(TWO.records(threshold=0.7)) == [
        {
            "target": "truck",
            "probability": 0.6,
            "margin": 0.1,
            "runner_up": "cat",
            "cluster": 5,
            "abstained": True,
        },
        {
            "target": "cat",
            "probability": 1.0,
            "margin": np.inf,
            "runner_up": None,
            "cluster": 1,
            "abstained": False,
        },
    ]
    assert TWO.targets.tolist() == ["truck", "cat"]
    assert TWO.confidences is not None
    assert TWO.confidences.tolist() == [0.6, 1.0]


def test_a_probability_at_the_threshold_is_an_answer() -> None:
    half = dataclasses.replace(TWO, probabilities=np.array([[0.25, 0.25, 0.5], [1, 0, 0]]))
    assert [record["abstained"] for record in half.records(threshold=0.5)] == [False, False]
    assert [record["abstained"] for record in half.records()] == [False, False]


def test_further_columns_are_ranks_from_the_second_on_and_each_probability() -> None:
    first, _ = TWO.records(top_k=3, each=True)
    assert list(first)[6:] == further_columns(NAMES, top_k=3, each=True)
    assert list(first.items())[6:] == [
        ("target_2", "cat"),
        ("probability_2", 0.3),
        ("target_3", "dog"),
        ("probability_3", 0.1),
        ("p:cat", 0.3),
        ("p:dog", 0.1),
        ("p:truck", 0.6),
    ]
    assert list(next(TWO.records(top_k=2)))[6:] == ["target_2", "probability_2"]
    assert list(next(TWO.records(each=True)))[6:] == ["p:cat", "p:dog", "p:truck"]


def test_ties_keep_the_answer_the_runner_up_and_then_the_order_of_names() -> None:
    names = ("a", "b", "c", "d")
    even = Predictions(
        names,
        *(np.array([value]) for value in (2, 1, 0, 0.0, 0.0)),
        probabilities=np.full((1, 4), 0.25),
        scores=np.zeros((1, 4)),
    )  # type: ignore[arg-type]
    (record,) = even.records(top_k=4)
    assert [record["target"], *(record[f"target_{rank}"] for rank in (2, 3, 4))] == ["c", "b", "a", "d"]


@pytest.mark.parametrize(("top_k", "each", "option"), [(2, False, "top-k"), (1, True, "probabilities")])
def test_an_uncalibrated_model_gives_no_further_probabilities(top_k: int, each: bool, option: str) -> None:
    with pytest.raises(InputError, match=rf"^{option}: needs a calibrated model"):
        next(UNCALIBRATED.records(top_k=top_k, each=each))
    with pytest.raises(InputError, match=rf"^{option}: needs a calibrated model"):
        check_further(NAMES, top_k=top_k, each=each, calibrated=False)
    check_further(NAMES, top_k=top_k, each=each, calibrated=True)


@pytest.mark.parametrize("top_k", [0, 4])
def test_as_many_answers_as_there_are_can_be_asked_for(top_k: int) -> None:
    with pytest.raises(InputError, match=r"^top-k: must be between 1 and 3, the number of answers, got"):
        next(TWO.records(top_k=top_k))
    with pytest.raises(InputError, match=r"^top-k"):
        check_further(NAMES, top_k=top_k, each=False, calibrated=True)
    check_further(NAMES, top_k=3, each=False, calibrated=True)
    check_further(NAMES, top_k=1, each=False, calibrated=False)
