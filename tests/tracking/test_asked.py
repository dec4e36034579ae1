from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fused_clip import InputError, load_model
from fused_clip.guarantee import Guarantee
from fused_clip.method.classifier import StatA
from fused_clip.tracking import asked
from fused_clip.tracking.asked import Asked, Respondent
from tests.models import pictures, save_model
from tests.records import png


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), held_out=60)


def answer(respondent: Respondent, contents: list[bytes], options: Asked) -> list[dict[str, Any]]:
    return respondent.answer([f"image {n}" for n in range(1, len(contents) + 1)], contents, options)


def encoded(count: int, seed: int = 5) -> list[bytes]:
    found = []
    for image in pictures(count, seed=seed)[0]:
        file = BytesIO()
        Image.fromarray(image).save(file, "PNG")
        found.append(file.getvalue())
    return found


def test_options_are_those_of_the_model(model: Path) -> None:
    loaded, respondent = load_model(model), Respondent(load_model(model))
    contents = encoded(6)
    rows = loaded.embed(contents)
    assert answer(respondent, contents, Asked()) == list(loaded.predict_embeddings(rows).records())
    narrowed = loaded.constrain(
        targets=["red", "blue"], prior={"red": 0.7, "blue": 0.3}, target_map={"warm": ["red"]}
    )
    options = Asked(
        targets="red,blue",
        prior="red=.7,blue=.3",
        target_map="{warm: [red]}",
        threshold=0.9,
        top_k=2,
        probabilities=True,
    )
    wanted = list(narrowed.predict_embeddings(rows).records(0.9, top_k=2, each=True))
    assert answer(respondent, contents, options) == wanted
    assert {row["target"] for row in wanted} == {"warm", "blue"}
    assert answer(respondent, [], Asked()) == []
    assert Asked.of({"threshold": None, "top_k": 2}) == Asked(top_k=2)


def test_a_guarantee_is_that_of_the_request(model: Path) -> None:
    loaded, respondent = load_model(model), Respondent(load_model(model))
    options = Asked(coverage=0.8, unknown=0.1)
    guarantee = Guarantee.of(loaded, 0.8, unknown=0.1)
    like, unlike = encoded(24), [png("black", (32, 32))] * 24
    for contents, stated in ((like[:5], "0.8, untested for shift"), (like, "0.8"), (unlike, "withdrawn")):
        found = answer(respondent, contents, options)
        wanted = list(guarantee.answer(loaded.embed(contents)).records())
        assert found == [{**row, "guarantee": stated} for row in wanted]
        assert list(found[0])[-4:] == ["set", "set_size", "guarantee", "unknown"]
    assert "guarantee" not in answer(respondent, like, Asked(unknown=0.1))[0]


def test_a_test_without_power_tests_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "_LEAST_TESTED", 1)
    found = answer(Respondent(load_model(model)), encoded(1), Asked(coverage=0.8))
    assert found[0]["guarantee"] == "0.8, untested for shift"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"threshold": 2}, "threshold: must be a probability"),
        ({"targets": "rde"}, "targets: must name targets of the model"),
        ({"target_map": "pet: red"}, "target_map.pet: must be a valid list"),
        ({"top_k": 0}, "top-k: must be between 1 and 3"),
        ({"coverage": 1.0}, "coverage: must be above 0 and below 1"),
        ({"coverage": 0.999}, "coverage: needs at least 999 calibration images"),
        ({"coverage_per": "target"}, "coverage_per: goes with a coverage"),
        ({"top_n": 1}, r"params: must name options, got 'top_n'; .*mean 'top_k'"),
        ({"top_k": "1"}, r"params\.top_k: must be a valid integer, got '1'"),
        ({"targets": "x" * 1_000_001}, r"params\.targets: .* at most 1000000 characters"),
        ({"coverage": 0.9, "coverage_per": "cow"}, r"params\.coverage_per: must be 'all' or 'target'"),
        ({"unknown": 0.0}, "unknown: must be above 0"),
    ],
)
def test_what_the_command_refuses_is_refused(params: dict[str, Any], message: str, model: Path) -> None:
    with pytest.raises(InputError, match=message):
        answer(Respondent(load_model(model)), [png()], Asked.of(params))


def test_a_transductive_model_needs_two_images(tmp_path: Path) -> None:
    respondent = Respondent(load_model(save_model(tmp_path, classifier=StatA())))
    assert len(answer(respondent, encoded(2), Asked())) == 2
    with pytest.raises(InputError, match="must be two or more"):
        answer(respondent, encoded(1), Asked())
