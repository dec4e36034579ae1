import time
from pathlib import Path

import pandas as pd
import pytest

from fused_clip import InputError, load_model
from fused_clip.predict.__main__ import main
from fused_clip.tracking import MlflowTracker
from fused_clip.tracking.models import fetched, log_model
from tests.models import save_model, save_pictures
from tests.results import make_result


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("run") / "a=b [c]")


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    return MlflowTracker(tmp_path_factory.mktemp("tracking") / "out put=[1]", registered_model="colours")


@pytest.fixture(scope="module")
def run_id(tracker: MlflowTracker, run_directory: Path) -> str:
    with tracker.run("toy", {}, {}) as active:
        active.log(make_result(), run_directory, [])
    return active.run_id


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "images", 12)


def test_a_logged_model_predicts_as_the_command_line(
    tracker: MlflowTracker, run_id: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    knowledge = {"targets": "red,blue", "prior": "red=.7,blue=.3", "threshold": 0.9}
    arguments = [word for name, value in knowledge.items() for word in (f"--{name}", str(value))]
    uri, out = f"runs:/{run_id}/model", tmp_path / "out.parquet"
    main([uri, str(images), "--out", str(out), "--tracking-uri", tracker.uri, *arguments])
    wanted = pd.read_parquet(out)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    mlflow.set_tracking_uri(tracker.uri)
    model = mlflow.pyfunc.load_model(uri)
    encoded = pd.DataFrame({"image": [Path(path).read_bytes() for path in wanted["path"]]})
    found = model.predict(encoded, params=knowledge)
    assert found.columns.tolist() == wanted.columns.tolist()[1:]
    for column in found:
        assert (found[column].astype(wanted[column].dtype) == wanted[column]).all(), column
    assert set(found["target"]) == {"red", "blue"}


def test_signature_and_example_fit_the_model(
    tracker: MlflowTracker, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    mlflow.set_tracking_uri(tracker.uri)
    model = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    signature = model.metadata.signature
    assert [spec.name for spec in signature.inputs] == ["image"]
    answer = model.predict(model.input_example)
    assert answer.columns.tolist() == [spec.name for spec in signature.outputs]
    assert answer["target"].iloc[0] in {"red", "green", "blue"}


def test_a_model_is_registered_and_found_by_its_version(
    tracker: MlflowTracker, run_id: str, run_directory: Path, images: Path, tmp_path: Path
) -> None:
    client, _ = tracker._store()
    (version,) = client.search_model_versions("name = 'colours'")
    assert (str(version.version), version.run_id) == ("1", run_id)
    for place in ("models:/colours/1", f"runs:/{run_id}/model"):
        with fetched(place, tracker.uri) as folder:
            assert load_model(folder).checksum == load_model(run_directory).checksum
    log_model(client, run_id, run_directory / "model", "colours")
    assert len(client.search_model_versions("name = 'colours'")) == 2


def test_logging_stays_within_its_place_and_its_time(
    tracker: MlflowTracker, run_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client, experiment = tracker._store()
    seconds = []
    for _ in range(4):
        run = client.create_run(experiment)
        start = time.process_time()
        log_model(client, run.info.run_id, run_directory / "model", None)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.3
    assert not list(tmp_path.iterdir()), "nothing falls into the working directory"


def test_requirements_name_this_package(tracker: MlflowTracker, run_id: str) -> None:
    with fetched(f"runs:/{run_id}/model", tracker.uri) as folder:
        assert (folder / "requirements.txt").read_text().splitlines()[-1].startswith("fused_clip==")
        assert not list(folder.rglob("*.pkl")), "no pickle"


@pytest.mark.parametrize(
    "uri", ["runs:/0123456789/model", "models:/nothing/1", "models:/colours/99", "runs:/"]
)
def test_what_the_store_does_not_have_is_told(uri: str, tracker: MlflowTracker, run_id: str) -> None:
    with pytest.raises(InputError, match=r"model: .* does not give it"), fetched(uri, tracker.uri):
        pass


def test_a_store_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with (
        pytest.raises(InputError, match="tracking-uri: must name the MLflow store"),
        fetched("runs:/1/model", None),
    ):
        pass
    assert not list(tmp_path.iterdir())
