import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fused_clip import InputError, load_model
from fused_clip.method.classifier import StatA
from fused_clip.model import format as model_files
from fused_clip.predict.__main__ import main
from fused_clip.tracking import MlflowTracker
from fused_clip.tracking.asked import Asked
from fused_clip.tracking.models import fetched, log_model
from tests.databases import with_database
from tests.models import save_model, save_pictures
from tests.records import png
from tests.results import make_result


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("run") / "a=b [c]")


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    return MlflowTracker(
        with_database(tmp_path_factory.mktemp("tracking") / "out put=[1]"), registered_model="colours"
    )


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

    (tmp_path / "map.yaml").write_text("{warm: [red]}")
    knowledge = {"targets": "red,blue", "prior": "red=.7,blue=.3", "threshold": 0.9}
    arguments = [word for name, value in knowledge.items() for word in (f"--{name}", str(value))]
    arguments += ["--target-map", str(tmp_path / "map.yaml")]
    uri, out = f"runs:/{run_id}/model", tmp_path / "out.parquet"
    main([uri, str(images), "--out", str(out), "--tracking-uri", tracker.uri, *arguments])
    wanted = pd.read_parquet(out)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    mlflow.set_tracking_uri(tracker.uri)
    model = mlflow.pyfunc.load_model(uri)
    encoded = pd.DataFrame({"image": [Path(path).read_bytes() for path in wanted["path"]]})
    found = model.predict(encoded, params={**knowledge, "target_map": "{warm: [red]}"})
    assert found.columns.tolist() == wanted.columns.tolist()[1:]
    for column in found:
        assert (found[column].astype(wanted[column].dtype) == wanted[column]).all(), column
    assert set(found["target"]) == {"warm", "blue"}


def test_signature_and_example_fit_the_model(
    tracker: MlflowTracker, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    mlflow.set_tracking_uri(tracker.uri)
    model = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    signature = model.metadata.signature
    assert [str(spec.type) for spec in signature.inputs] == ["DataType.binary"]
    assert model.input_example.columns.tolist() == ["image"]
    answer = model.predict(model.input_example)
    first = [spec.name for spec in signature.outputs][: len(answer.columns)]
    assert answer.columns.tolist() == first
    assert [spec.name for spec in signature.params] == list(Asked.model_fields)
    assert answer["target"].iloc[0] in {"red", "green", "blue"}


def test_a_model_is_registered_and_found_by_its_version(
    tracker: MlflowTracker, run_directory: Path, tmp_path: Path
) -> None:
    """Under a name of its own: other tests register further versions of the tracker's model."""
    import mlflow

    named = MlflowTracker(tracker.output_dir, registered_model="hues")
    with named.run("toy", {}, {}) as active:
        active.log(make_result(), run_directory, [])
    run_id = active.run_id
    client, _ = named._store()
    (version,) = client.search_model_versions("name = 'hues'")
    assert (str(version.version), version.run_id) == ("1", run_id)
    client.set_registered_model_alias("hues", "best", "1")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/elsewhere.db")
    logged = client.get_run(run_id).outputs.model_outputs[0].model_id
    registered = ("models:/hues/1", "models:/hues@best", "models:/hues/latest", f"models:/{logged}")
    for place in (*registered, f"runs:/{run_id}/model", f"runs:/{run_id}"):
        with fetched(place, tracker.uri) as folder:
            assert load_model(folder).checksum == load_model(run_directory).checksum
    log_model(client, run_id, run_directory / "model", "hues")
    assert len(client.search_model_versions("name = 'hues'")) == 2


def test_a_run_that_is_used_again_is_registered_once(
    tracker: MlflowTracker, run_directory: Path, run_id: str
) -> None:
    client, _ = tracker._store()
    again = MlflowTracker(tracker.output_dir, registered_model="shades")
    for sweep_id in ("", "sweep", ""):
        again.check()
        again.adopt(run_id, sweep_id)
    (version,) = client.search_model_versions("name = 'shades'")
    assert version.run_id == run_id
    with fetched("models:/shades/1", tracker.uri) as folder:
        assert load_model(folder).checksum == load_model(run_directory).checksum


def test_a_name_that_the_registry_does_not_take_is_told_before_work(tracker: MlflowTracker) -> None:
    for name in ("a/b", "a:b", ""):
        with pytest.raises(InputError, match=r"tracking\.registered_model: the registry does not take it"):
            MlflowTracker(tracker.output_dir, registered_model=name).check()
    MlflowTracker(tracker.output_dir, registered_model="not there yet").check()
    assert "not there yet" not in [model.name for model in tracker._store()[0].search_registered_models()]


def test_a_model_of_embeddings_is_no_pyfunc(
    tracker: MlflowTracker, run_directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head, facts, _ = model_files.read(run_directory / "model")
    model_files.write(tmp_path / "model", head, None, facts.training)
    with tracker.run("vectors", {}, {}) as active:
        active.log(make_result(), tmp_path, [])
    client, _ = tracker._store()
    assert not client.get_run(active.run_id).outputs.model_outputs
    assert "not registered as colours" in caplog.text
    with fetched(f"runs:/{active.run_id}/model", tracker.uri) as folder:
        assert load_model(folder).checksum == model_files.checksum(tmp_path / "model")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"threshold": 2.0}, "threshold: must be a probability"),
        ({"target_map": "pet: red"}, "target_map.pet: must be a valid list"),
        ({"targets": "rde"}, "targets: must name targets of the model"),
    ],
)
def test_a_logged_model_refuses_what_the_command_line_refuses(
    params: dict[str, object], message: str, tracker: MlflowTracker, run_id: str
) -> None:
    with pytest.raises(InputError, match=message):
        loaded(tracker, run_id).predict(one_image(), params=params)


def test_a_logged_model_without_probabilities_has_no_threshold(
    tracker: MlflowTracker, tmp_path: Path
) -> None:
    with tracker.run("uncalibrated", {}, {}) as active:
        active.log(make_result(), save_model(tmp_path, calibrated=False), [])
    model = loaded(tracker, active.run_id)
    assert model.predict(one_image())["probability"].isna().all()
    with pytest.raises(InputError, match="threshold: needs a calibrated model"):
        model.predict(one_image(), params={"threshold": 0.5})


def test_a_logged_model_takes_paths_and_contents(tracker: MlflowTracker, run_id: str, images: Path) -> None:
    model = loaded(tracker, run_id)
    paths = sorted(images.rglob("*.png"))
    contents = [path.read_bytes() for path in paths]
    wanted = model.predict(pd.DataFrame({"image": contents}))
    assert set(wanted["target"]) == {"red", "green", "blue"}
    names = list(map(str, paths))
    for given in (names, paths, contents, pd.DataFrame({"path": names}), pd.Series(names, name="path")):
        pd.testing.assert_frame_equal(model.predict(given), wanted)
    with pytest.raises(InputError, match=r"model_input: must have .* got 'label'; choose from: image, path"):
        model.predict(pd.DataFrame({"label": names, "image": contents}))
    with pytest.raises(InputError, match=r"images: gone\.png can't be read"):
        model.predict(["gone.png"])


def test_a_guarantee_is_that_of_the_command_line(tracker: MlflowTracker, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "run", held_out=60)
    with tracker.run("promised", {}, {}) as active:
        active.log(make_result(), folder, [])
    out = tmp_path / "out.jsonl"
    more = save_pictures(tmp_path / "more", 30)
    words = ["--coverage", ".8", "--coverage-per", "target", "--unknown", ".1", "--top-k", "2"]
    main([str(folder), str(more), "--out", str(out), *words])
    wanted = [json.loads(line) for line in out.read_text().splitlines()]
    paths = [row.pop("path") for row in wanted]
    params = {"coverage": 0.8, "coverage_per": "target", "unknown": 0.1, "top_k": 2}
    found = loaded(tracker, active.run_id).predict(paths, params=params)
    assert found.to_dict(orient="records") == wanted
    assert found.columns.tolist() == list(wanted[0])
    assert {row["guarantee"] for row in wanted} == {"0.8 per target"}


def loaded(tracker: MlflowTracker, run_id: str) -> Any:
    import mlflow

    mlflow.set_tracking_uri(tracker.uri)
    return mlflow.pyfunc.load_model(f"runs:/{run_id}/model")


def one_image() -> pd.DataFrame:
    return pd.DataFrame({"image": [png("red")]})


@pytest.mark.slow
def test_logging_stays_within_its_place_and_its_time(
    tracker: MlflowTracker, run_directory: Path, tmp_path: Path
) -> None:
    client, experiment = tracker._store()
    run_id = client.create_run(experiment).info.run_id
    script = f"""
import time, warnings
from pathlib import Path
with warnings.catch_warnings(action="ignore"):
    import mlflow.pyfunc
from fused_clip.model import saved
from fused_clip.tracking import MlflowTracker
from fused_clip.tracking.models import log_model
client, _ = MlflowTracker(Path({str(tracker.output_dir)!r}))._store()
client.get_run({run_id!r})
start = time.process_time()
log_model(client, {run_id!r}, Path({str(run_directory / "model")!r}), None)
print(time.process_time() - start)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout.split()[-1]) < 3, (
        "mlflow goes once through the files of all packages; with inferred requirements it takes longer"
    )
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


def test_a_transductive_model_has_an_example_of_two_and_refuses_one(
    tracker: MlflowTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    folder = save_model(tmp_path / "run", classifier=StatA())
    with tracker.run("toy", {}, {}) as active:
        active.log(make_result(), folder, [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    mlflow.set_tracking_uri(tracker.uri)
    model = mlflow.pyfunc.load_model(f"runs:/{active.run_id}/model")
    assert len(model.predict(model.input_example)) == 2
    with pytest.raises(InputError, match="must be two or more"):
        model.predict(pd.DataFrame({"image": [png()]}))


@pytest.mark.filterwarnings("ignore:Operation with range", "ignore:.*AnyType")  # MLflow's own
def test_a_model_is_described_as_mlflow_would(tracker: MlflowTracker, tmp_path: Path) -> None:
    import mlflow
    import yaml

    from fused_clip.tracking import models
    from fused_clip.tracking.answering import CONFIG

    folder = save_model(tmp_path / "run") / "model"
    client, experiment_id = tracker._store()
    run_id = client.create_run(experiment_id).info.run_id
    logged = client.create_logged_model(experiment_id, "model", run_id)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for _ in range(2):  # the second takes what the first left
        shutil.rmtree(ours, ignore_errors=True)
        models._save(ours, folder, logged, run_id, images=1)
    ids = {"model_uuid": logged.model_id, "model_id": logged.model_id, "run_id": run_id}
    mlflow.pyfunc.save_model(
        theirs,
        python_model=str(Path(models.__file__).with_name("pyfunc.py")),
        model_config=CONFIG,
        artifacts={"model": str(folder)},
        signature=models._signature(),
        input_example=models._example(1),
        pip_requirements=[f"fused_clip=={version('fused_clip')}"],
        mlflow_model=mlflow.models.Model(artifact_path=logged.artifact_location, **ids),
    )
    described = []
    for place in (ours, theirs):
        facts = yaml.safe_load((place / "MLmodel").read_text())
        assert facts.pop("utc_time_created")
        files = {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        described.append((facts, {name: files[name] for name in files if name.name != "MLmodel"}))
    assert described[0] == described[1]
