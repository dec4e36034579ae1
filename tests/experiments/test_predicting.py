"""The benchmarks of predicting, on a few images."""

import pytest

from experiments.benchmarks import predicting
from experiments.benchmarks.measure import Timer


def test_predicting_is_measured_beside_embedding_the_same_images() -> None:
    timer = Timer()
    facts = predicting.predict(70, timer)
    assert facts["images_per_second"] == pytest.approx(70 / timer.seconds)
    assert 0 < facts["of_plain_embedding"] < 10


@pytest.mark.slow
def test_photos_are_measured_beside_the_encoder_alone() -> None:
    timer = Timer()
    facts = predicting.photos(4, timer)
    assert facts["images_per_second"] == pytest.approx(4 / timer.seconds)
    assert 0.1 < facts["of_encoder"] < 10
    assert 0.5 < facts["of_encoder_cpu"] < 2, "what is decoded and written costs little beside the encoder"


def test_logging_is_measured_model_by_model() -> None:
    timer = Timer()
    facts = predicting.log(2, timer)
    assert facts["seconds_a_model"] == pytest.approx(timer.seconds / 2, rel=0.2)
    assert 0 < facts["first_seconds"] <= facts["slowest_seconds"]
