"""A pyfunc in the hands of MLflow's server; tests/attack/test_serving.py starts a real one."""

import json
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from fused_clip import InputError
from fused_clip.tracking.answering import _SERVER, _SERVING, Answering
from fused_clip.tracking.models import _signature
from tests.models import save_model
from tests.records import png
from tests.served import base64_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_model(tmp_path_factory.mktemp("model")) / "model")


@pytest.fixture(scope="module")
def served(folder: str) -> Answering:
    return Answering(folder, {"served": True})


def table(*cells: Any, column: Any = "image") -> pd.DataFrame:
    return pd.DataFrame({column: list(cells)})


def parsed(body: dict[str, Any]) -> pd.DataFrame:
    """What MLflow's server makes of a request."""
    with warnings.catch_warnings(action="ignore"):  # mlflow warns of its own type hints
        from mlflow.pyfunc.scoring_server import infer_and_parse_data
    return pd.DataFrame(infer_and_parse_data(body, schema=_signature().inputs))


def test_a_served_model_takes_contents_and_base64_of_them(served: Answering) -> None:
    content, text = png("red"), base64_of(png("red"))
    for cell in (content, text, text.encode()):
        for column in ("image", "path", 0):
            assert served.predict(table(cell, column=column), {})["target"].tolist() == ["red"]
    for name in ("dataframe_split", "instances", "inputs"):
        split = {"columns": ["image"], "data": [[text]]}
        body = {name: split if name == "dataframe_split" else [text]}
        assert served.predict(parsed(body), {})["target"].tolist() == ["red"], name


def test_a_served_model_reads_no_path(served: Answering, folder: str, tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(png("red"))
    for cell in (str(image), image, str(image).encode(), None, 3, float("nan")):
        for column in ("image", "path", 0):
            with pytest.raises(InputError, match="images: image 1 "):
                served.predict(table(cell, column=column), {})
    assert Answering(folder, None).predict(table(image), {})["target"].tolist() == ["red"]


def test_a_model_is_served_where_mlflows_server_runs(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    auto, always, never = (Answering(folder, {"served": said}) for said in ("auto", True, False))
    assert (auto.served, always.served, never.served) == (False, True, False)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, _SERVER, ModuleType("app"))
        assert (auto.served, always.served, never.served) == (True, True, False)
    monkeypatch.setenv(_SERVING, "true")
    assert (auto.served, always.served, never.served) == (True, True, False)


def test_requests_are_limited_and_calls_are_not(folder: str) -> None:
    limits = {"max_images": 2, "max_pixels": 600}
    served, called = (Answering(folder, {"served": said, **limits}) for said in (True, False))
    assert len(served.predict(table(png(), png()), {})) == 2
    for cells, message in (
        ([png()] * 3, "images: a request must have between 1 and 2, got 3"),
        ([], "images: a request must have between 1 and 2, got 0"),
        ([png(), png(size=(31, 20))], "images: image 2 has 620 pixels: at most 600 are taken here"),
    ):
        with pytest.raises(InputError, match=message):
            served.predict(table(*cells), {})
        assert len(called.predict(table(*cells), {})) == len(cells)


def test_bad_input_is_an_error_of_both_kinds_with_one_line(served: Answering) -> None:
    """MLflow's server puts the input, with line breaks, in front of the message of an MlflowException."""
    with pytest.raises(InputError) as refused:
        served.predict(table(b"none"), {})
    error = refused.value
    assert isinstance(error, MlflowException)
    error.message = f"Failed to predict data 'x'. \nError: {error.message}"
    said = json.loads(error.serialize_as_json())
    assert said["message"] == "images: image 1 can't be read (it is no image of a kind that can be read)"
    assert (error.get_http_status_code(), error.option, str(error)) == (400, "images", said["message"])


def test_an_error_of_ours_shows_nothing_where_it_is_served(
    folder: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for said in (True, False):
        model = Answering(folder, {"served": said})
        monkeypatch.setattr(model._respondent, "_embedder", None)
        with pytest.raises(MlflowException if said else AttributeError) as failed:
            model.predict(table(png()), {})
        assert ("NoneType" in str(failed.value)) is not said
        assert ("has no attribute 'embed'" in caplog.text) is said
        if said:
            assert isinstance(failed.value, MlflowException)
            assert failed.value.get_http_status_code() == 500
        caplog.clear()


def test_answers_that_are_served_fit_json(folder: str) -> None:
    for said in (True, False):
        answer = Answering(folder, {"served": said}).predict(
            table(png("red"), png("blue")), {"targets": "red"}
        )
        text = json.dumps(answer.to_dict(orient="records"))
        assert ("Infinity" in text) is not said
        assert answer["target"].tolist() == ["red", "red"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"served": "yes"}, "model_config.served: must be 'auto', true or false, got 'yes'"),
        ({"max_pixels": 0}, "model_config.max_pixels: must be a number from 1, got 0"),
        ({"max_images": True}, "model_config.max_images: must be a number from 1, got True"),
    ],
)
def test_a_config_is_checked(config: dict[str, Any], message: str, folder: str) -> None:
    with pytest.raises(InputError, match=message):
        Answering(folder, config)


def test_a_config_changes_a_logged_model(tmp_path: Path) -> None:
    import mlflow

    from fused_clip.tracking import MlflowTracker
    from tests.databases import with_database
    from tests.results import make_result

    tracker = MlflowTracker(with_database(tmp_path / "out"))
    with tracker.run("toy", {}, {}) as active:
        active.log(make_result(), save_model(tmp_path / "run"), [])
    mlflow.set_tracking_uri(tracker.uri)
    config = {"served": True, "max_pixels": 100}
    model = mlflow.pyfunc.load_model(f"runs:/{active.run_id}/model", model_config=config)
    with pytest.raises(InputError, match="image 1 has 600 pixels: at most 100 are taken here"):
        model.predict(table(png()))
    with pytest.raises(InputError, match="paths are not read"):
        model.predict(["a.png"])


def test_tables_without_a_column_of_images_are_refused(served: Answering) -> None:
    for wrong in (pd.DataFrame(), table(png(), column="label"), table(png(), column=1)):
        with pytest.raises(InputError, match="model_input: must have one column, or a first column"):
            served.predict(wrong, {})
