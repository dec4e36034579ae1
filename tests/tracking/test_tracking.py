import json
import math
import shlex
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from fused_clip.method.reference import ReferenceFacts
from fused_clip.support.errors import InputError
from fused_clip.tracking import MlflowTracker, NoTracker
from fused_clip.tracking.address import absolute_uri
from fused_clip.tracking.values import chart_name, image_name, metric_name, mlflow_key
from tests.databases import with_database
from tests.results import make_result

ODD = "out put=[1] 50% #2 'ü'"  # a directory whose name every layer would like to take for syntax


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    return MlflowTracker(tmp_path_factory.mktemp("tracking") / ODD)


@pytest.fixture(scope="module")
def client(tracker: MlflowTracker) -> Any:
    return tracker._store()[0]


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    """A run's directory as `output` leaves it, with two pictures."""
    from PIL import Image

    directory = tmp_path / "a=b, [c]"
    (directory / "figures").mkdir(parents=True)
    for name in ("config.yaml", "metrics.json", "embeddings.npz", "predictions.parquet"):
        (directory / name).write_text(name)
    (directory / "notes.txt").write_text("the user's own")
    for name in ("tsne", "confusion"):
        Image.new("RGB", (1500, 600), "teal").save(directory / "figures" / f"{name}.png")
        (directory / "figures" / f"{name}.pdf").write_text("pdf")
    return directory


@pytest.fixture
def pictures(run_directory: Path) -> list[Path]:
    return sorted((run_directory / "figures").iterdir())


def find(client: Any, name: str) -> Any:
    (experiment,) = client.search_experiments(filter_string="name = 'fused_clip'")
    (run,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    return run


def artifacts(client: Any, run: Any, folder: str | None = None) -> set[str]:
    return {file.path for file in client.list_artifacts(run.info.run_id, folder)}


def test_a_run_keeps_its_axes_numbers_and_facts(
    tracker: MlflowTracker, client: Any, run_directory: Path
) -> None:
    metrics = {"test/accuracy": 0.875, "test/recall/3-a$b": 0.5, "seconds/embed": 12.0}
    result = make_result(metrics=metrics, missing_targets=("dog", "truck"))
    params = {"dataset": "toy", "seed": 3, "dataset.n_train": 10, "+x y$": "z" * 9000}
    with tracker.run("toy-task-kmeans-s3", params, {"study": "s", "commit": "abc", "empty": ""}) as active:
        active.log(result, run_directory, [])
    run = find(client, "toy-task-kmeans-s3")
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {
        "test/accuracy": 0.875,
        "truth recall/3-a_b": 0.5,
        "wall seconds/embed": 12.0,
    }
    assert {key: run.data.params[key] for key in ("dataset", "seed", "dataset.n_train")} == {
        "dataset": "toy",
        "seed": "3",
        "dataset.n_train": "10",
    }
    assert run.data.params["_x y_"].endswith("z…")
    tags = run.data.tags
    assert tags["study"] == "s"
    assert tags["uses_labels"] == "true"
    assert tags["backbone_saw_labels"] == "false"
    assert tags["missing_targets"] == "dog, truck"
    assert tags["data_fingerprint"] == result.tags["data_fingerprint"]
    assert tags["mlflow.source.git.commit"] == "abc"
    assert "empty" not in tags
    assert "undefined_metrics" not in tags


def test_numbers_that_are_not_numbers_are_named_and_not_logged(
    tracker: MlflowTracker, client: Any, tmp_path: Path
) -> None:
    metrics = {"a": math.inf, "b": math.nan, "c": -math.inf, "d": 1.0}
    with tracker.run("not-finite", {}, {}) as active:
        active.log(make_result(metrics=metrics), tmp_path, [])
    run = find(client, "not-finite")
    assert run.data.metrics == {"d": 1.0}
    assert run.data.tags["undefined_metrics"] == "a, b, c"


METRICS = [
    *("test/accuracy", "test/brier", "test/recall/3-truck", "words_in_fusion", "text_in_all"),
    *("reference/zero_shot_accuracy", "reference/image_only_ari", "reference/image_only_purity"),
    *("train/ari", "n_clusters", "n_noise", "missing_targets", "seconds/total", "images_per_second"),
    "user's own",
]


def test_charts_show_test_first_and_seconds_last() -> None:
    sections = sorted({chart_name(metric).rpartition("/")[0] for metric in METRICS} - {""})
    assert sections == ["test", "test vs", "train", "train vs", "truth recall", "wall seconds"]
    assert {image_name(name).rpartition("/")[0] for name in ("tsne", "confusion")} == {"test"}
    assert image_name("clusters_per_target") == "train/clusters_per_target"


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_come_back_under_their_own_names(metric: str) -> None:
    assert metric_name(mlflow_key(chart_name(metric))) == mlflow_key(metric)


def test_metrics_of_earlier_stores_keep_their_names() -> None:
    assert [metric_name(metric) for metric in METRICS] == METRICS


def test_figures_have_different_names_in_the_image_grid() -> None:
    splits = {"train": ("target", "cluster"), "test": ("target", "prediction")}
    maps = [f"tsne_{split}_{colour}" for split, colours in splits.items() for colour in colours]
    names = [image_name(figure) for figure in ("tsne", "confusion", "composition", *maps)]
    assert len(set(names)) == 7
    assert "train/tsne_cluster" in names


def test_the_description_of_a_run_explains_its_numbers(
    tracker: MlflowTracker, client: Any, tmp_path: Path
) -> None:
    metrics = {"test/accuracy": 0.875, "reference/zero_shot_accuracy": 0.5, "test/ece": math.nan}
    with tracker.run("described", {}, {}) as active:
        own = ReferenceFacts("zero_shot", "my zero-shot", "as my YAML says", "no")
        active.log(make_result(metrics=metrics), tmp_path, [], [own])
    lines = find(client, "described").data.tags["mlflow.note.content"].splitlines()
    assert lines[2:] == [
        "| accuracy | .8750 | the method, on test images |  |",
        "| reference: my zero-shot | .5000 | as my YAML says | no |",
    ]


def test_more_reused_cells_than_the_tags_of_a_call_hold(tracker: MlflowTracker, client: Any) -> None:
    parent = tracker.start_sweep("all-reused", {"study": "s", "swept": "seed"})
    table = [{"seed": str(seed), "reused_from": f"{seed:032x}"} for seed in range(150 * 101)]
    tracker.end_sweep(parent, table, "FINISHED")
    run = client.get_run(parent)
    assert (run.info.status, run.data.tags["reused_cells"]) == ("FINISHED", "15150")
    assert run.data.tags["reused_from_101"].split()[-1] == f"{15149:032x}"


@pytest.mark.parametrize("fails", [2, 9])
def test_a_run_that_has_ended_counts_even_if_the_store_fails_then(
    fails: int, tracker: MlflowTracker, client: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    real, calls = client.set_tag, []

    def set_tag(run_id: str, key: str, value: str) -> None:
        calls.append(key)
        if len(calls) <= fails:
            raise MlflowException("it fails")
        real(run_id, key, value)

    with tracker.run(f"unsealed-{fails}", {}, {}):
        monkeypatch.setattr(client, "set_tag", set_tag)
    run = find(client, f"unsealed-{fails}")
    assert run.info.status == "FINISHED"
    assert calls == ["record_checksum"] * 3
    assert ("record_checksum" in run.data.tags) == (fails == 2)
    assert len(caplog.messages) == (fails == 9)


def test_more_metrics_than_a_call_takes(tracker: MlflowTracker, client: Any, tmp_path: Path) -> None:
    metrics = {f"test/recall/{index}-x": index / 1200 for index in range(1200)}
    with tracker.run("many", {f"p{index}": index for index in range(120)}, {}) as active:
        active.log(make_result(metrics=metrics), tmp_path, [])
    run = find(client, "many")
    assert {metric_name(chart): value for chart, value in run.data.metrics.items()} == metrics
    assert len(run.data.params) == 120


def test_files_and_pictures_become_artifacts(
    tracker: MlflowTracker, client: Any, run_directory: Path, pictures: list[Path]
) -> None:
    with tracker.run("files", {}, {}) as active:
        active.log(make_result(), run_directory, pictures)
    run = find(client, "files")
    files = {"config.yaml", "metrics.json", "embeddings.npz", "predictions.parquet"}
    assert artifacts(client, run) == {*files, "figures", "images"}
    names = {f"figures/{name}.{kind}" for name in ("tsne", "confusion") for kind in ("png", "pdf")}
    assert artifacts(client, run, "figures") == names
    place = tracker.output_dir / "mlartifacts" / run.info.run_id / "artifacts"
    assert (place / "config.yaml").read_text() == "config.yaml"


def test_the_image_grid_has_the_same_keys_in_every_run(
    tracker: MlflowTracker, client: Any, run_directory: Path, pictures: list[Path]
) -> None:
    keys = []
    for number in range(2):
        with tracker.run(f"grid-{number}", {}, {}) as active:
            active.log(make_result(), run_directory, pictures)
        run = find(client, f"grid-{number}")
        files = artifacts(client, run, "images")
        keys.append(sorted(name.removeprefix("images/").split("+step+0+")[0] for name in files))
        assert run.data.tags["mlflow.loggedImages"] == "True"
        from PIL import Image

        for name in files:
            with Image.open(client.download_artifacts(run.info.run_id, name)) as image:
                assert max(image.size) <= 1000
    assert (
        keys == [["test~confusion", "test~confusion", "test~tsne", "test~tsne"]] * 2
    )  # each in full and as a thumbnail


def test_the_dataset_is_an_input_with_its_fingerprint(
    tracker: MlflowTracker, client: Any, tmp_path: Path
) -> None:
    result = make_result()
    with tracker.run("input", {}, {}) as active:
        active.log(result, tmp_path, [])
    ((logged,),) = [find(client, "input").inputs.dataset_inputs]
    assert logged.dataset.name == "toy"
    assert result.tags["data_fingerprint"].startswith(logged.dataset.digest)
    assert len(logged.dataset.digest) == 36
    assert json.loads(logged.dataset.source) == {"uri": "made up"}
    assert json.loads(logged.dataset.profile) == {"num_rows": {"train": 60, "test": 30}}


@pytest.mark.slow
def test_of_cells_that_name_a_new_dataset_at_once_none_fails(tmp_path: Path) -> None:
    """Two processes both find the dataset missing; the second's row is refused as a duplicate."""
    tracker = MlflowTracker(with_database(tmp_path))
    client = tracker._store()[0]
    result = make_result()
    real, calls = client.log_inputs, []

    def late(run_id: str, datasets: Any) -> None:
        calls.append(run_id)
        if len(calls) == 1:
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.name")
        real(run_id, datasets=datasets)

    with tracker.run("late", {}, {}) as active:
        active.client.log_inputs = late
        active.log(result, tmp_path, [])
    run = find(client, "late")
    assert run.info.status == "FINISHED"
    assert len(run.inputs.dataset_inputs) == 1


def test_a_run_that_raises_is_failed_with_its_message(tracker: MlflowTracker, client: Any) -> None:
    with pytest.raises(InputError, match="clusterer"), tracker.run("raises", {"seed": 1}, {}):
        raise InputError("clusterer", "must fit")
    run = find(client, "raises")
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "clusterer: must fit"
    assert run.data.params == {"seed": "1"}
    traceback = Path(client.download_artifacts(run.info.run_id, "error.txt")).read_text()
    assert "raise InputError" in traceback
    assert run.info.end_time >= run.info.start_time


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_run_that_is_interrupted_is_killed(
    tracker: MlflowTracker, client: Any, stop: type[BaseException]
) -> None:
    with pytest.raises(stop), tracker.run(stop.__name__, {}, {}):
        raise stop
    run = find(client, stop.__name__)
    assert run.info.status == "KILLED"
    assert "error" not in run.data.tags


def test_an_error_survives_a_store_that_fails_as_well(
    tracker: MlflowTracker, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(client, "set_tag", full)
    with pytest.raises(ValueError, match="the first") as caught, tracker.run("both", {}, {}):
        raise ValueError("the first")
    assert "disk full" in caught.value.__notes__[0]


def test_a_sweep_is_a_parent_with_its_cells_and_their_table(tracker: MlflowTracker, client: Any) -> None:
    parent = tracker.start_sweep("sweep-a", {"study": "s", "sweep_id": "x1"})
    assert client.get_run(parent).info.status == "RUNNING"
    for seed in range(2):
        with tracker.run(f"cell-{seed}", {"seed": seed}, {"sweep_id": "x1"}, parent_id=parent):
            pass
    table = [
        {"prompt": "task", "seed": "0", "test/accuracy": 0.5, "error": ""},
        {"prompt": "none", "seed": "1", "error": "no space\nleft"},
    ]
    tracker.end_sweep(parent, table, "FAILED")
    run = client.get_run(parent)
    assert run.info.status == "FAILED"
    assert run.data.tags["cells"] == "2"
    assert run.data.tags["failed_cells"] == "none 1: no space"
    (experiment,) = client.search_experiments(filter_string="name = 'fused_clip'")
    children = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent}'")
    assert {child.info.run_name for child in children} == {"cell-0", "cell-1"}
    stored = json.loads(Path(client.download_artifacts(parent, "sweep.json")).read_text())
    assert stored["columns"] == ["prompt", "seed", "test/accuracy", "error"]
    assert stored["data"] == [["task", "0", 0.5, ""], ["none", "1", None, "no space\nleft"]]


def test_a_sweep_without_cells_is_closed(tracker: MlflowTracker, client: Any) -> None:
    parent = tracker.start_sweep("sweep-empty", {})
    tracker.end_sweep(parent, [], "KILLED")
    assert client.get_run(parent).info.status == "KILLED"


def test_a_sweep_is_closed_even_if_its_table_can_not_be_kept(
    tracker: MlflowTracker, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    parent = tracker.start_sweep("sweep-full", {})
    monkeypatch.setattr(client, "log_table", full)
    with pytest.raises(OSError, match="disk full"):
        tracker.end_sweep(parent, [{"seed": 1}], "FINISHED")
    assert client.get_run(parent).info.status == "FINISHED"


def test_the_database_takes_readers_and_a_writer(tracker: MlflowTracker, client: Any) -> None:
    with closing(sqlite3.connect(tracker.output_dir / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_ui_command_names_the_store_for_a_shell(tracker: MlflowTracker) -> None:
    words = shlex.split(tracker.ui_command())
    assert words[1:4] == [sys.executable, "-m", "mlflow"]
    assert words[words.index("--host") + 1] == "127.0.0.1", "no other machine is answered"
    assert words[-2:] == ["--backend-store-uri", f"sqlite:///{tracker.output_dir / 'mlflow.db'}"]
    server = MlflowTracker(tracker.output_dir, "http://localhost:5000")
    assert server.ui_command() == "http://localhost:5000"


def test_the_comparison_of_a_sweep_has_an_address(tracker: MlflowTracker, client: Any) -> None:
    (experiment,) = client.search_experiments(filter_string="name = 'fused_clip'")
    url = tracker.compare_url("x1")
    assert url.startswith(f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?")
    query = parse_qs(url.partition("?")[2])
    assert query["compareRunsMode"] == ["CHART"]
    parent = tracker.start_sweep("sweep-x2", {"sweep_id": "x2"})
    tracker.end_sweep(parent, [], "FINISHED")
    with tracker.run("compared", {"prompt": "task"}, {"sweep_id": "x2"}, parent_id=parent):
        pass
    (search,) = parse_qs(tracker.compare_url("x2").partition("?")[2])["searchFilter"]
    found = client.search_runs([experiment.experiment_id], search, order_by=query["orderByKey"])
    assert [run.info.run_name for run in found] == ["compared"]
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def nobody() -> str:
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_server_that_is_not_there_is_told_in_seconds(nobody: str, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match=r"tracking\.uri: .*tracking\.uri=null"):
        MlflowTracker(tmp_path, nobody).check()
    assert time.monotonic() - start < 20


@pytest.mark.slow
def test_a_server_that_never_answers_is_told_in_seconds(silent_server: str, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match=r"tracking\.uri"):
        MlflowTracker(tmp_path, silent_server).check()
    assert time.monotonic() - start < 40


@pytest.mark.parametrize("uri", ["nonsense://x", "./mlruns"])
def test_a_store_that_mlflow_does_not_take_is_told(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tracking\.uri"):
        MlflowTracker(tmp_path, uri).check()


def test_a_database_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"tracking\.uri: .*(can't be used|must be a writable folder)"):
        MlflowTracker(tmp_path / "file" / "below").check()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, though it has this name" * 10)
    with pytest.raises(InputError, match=r"tracking\.uri: .*not a database"):
        MlflowTracker(tmp_path).check()


def test_a_deleted_experiment_is_told(tracker: MlflowTracker, client: Any) -> None:
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(InputError, match=r"tracking\.experiment: has been deleted"):
        MlflowTracker(tracker.output_dir, experiment="gone").check()


def test_uris_mean_the_same_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_uri(None, Path("out")) == f"sqlite:///{tmp_path}/out/mlflow.db"
    assert absolute_uri("sqlite:///runs.db", Path("out")) == f"sqlite:///{tmp_path}/runs.db"
    assert absolute_uri("sqlite:////abs/runs.db", Path("out")) == "sqlite:////abs/runs.db"
    assert absolute_uri("http://host:1", Path("out")) == "http://host:1"
    with pytest.raises(InputError, match=r"output_dir: must not contain '\?'"):
        absolute_uri(None, Path("what?"))


RACE = """
import sys, time
from fused_clip.tracking import MlflowTracker
time.sleep(max(0, float(sys.argv[2]) - time.time()))
tracker = MlflowTracker(sys.argv[1])
tracker.check()
for number in range(3):
    with tracker.run(f"{sys.argv[3]}-{number}", {"process": sys.argv[3]}, {}):
        pass
"""


@pytest.mark.slow
def test_processes_that_start_at_once_on_a_cold_database_do_not_break_it(tmp_path: Path) -> None:
    start = str(time.time() + 1)
    arguments = [sys.executable, "-W", "ignore", "-c", RACE, str(tmp_path / ODD), start]
    racing = [
        subprocess.Popen([*arguments, str(number)], stderr=subprocess.PIPE, text=True) for number in range(4)
    ]
    errors = [process.communicate(timeout=300)[1] for process in racing]
    assert [process.returncode for process in racing] == [0] * 4, "\n".join(errors)
    client, experiment_id = MlflowTracker(tmp_path / ODD)._store()
    runs = client.search_runs([experiment_id])
    assert sorted(run.info.run_name for run in runs) == sorted(
        f"{process}-{number}" for process in range(4) for number in range(3)
    )
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_experiments(filter_string="name = 'fused_clip'")) == 1


def test_none_tracks_nothing(tmp_path: Path, run_directory: Path, pictures: list[Path]) -> None:
    before = sorted(tmp_path.rglob("*"))
    tracker = NoTracker()
    tracker.check()
    parent = tracker.start_sweep("sweep", {})
    with tracker.run("cell", {}, {}, parent_id=parent) as active:
        active.log(make_result(), run_directory, pictures)
    tracker.end_sweep(parent, [{"seed": 0}], "FINISHED")
    assert tracker.ui_command() == tracker.compare_url("x") == ""
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(ValueError, match="mine"), tracker.run("cell", {}, {}):
        raise ValueError("mine")


def test_nothing_is_imported_or_made_before_it_is_needed(tmp_path: Path) -> None:
    script = (
        "import sys; from fused_clip.tracking import MlflowTracker, NoTracker; NoTracker().check(); "
        f"MlflowTracker({str(tmp_path / 'out')!r}).ui_command(); print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@given(st.text(max_size=400))
def test_any_name_becomes_a_key_that_mlflow_takes(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    key = mlflow_key(name)
    assert 0 < len(key) <= 250
    _validate_metric_name(key)
    _validate_param_name(key)
    assert mlflow_key(key) == key


@pytest.mark.parametrize(
    "key", ["test/recall/3-pickup_truck", "mlflow.parentRunId", "version.faiss-cpu", "a b"]
)
def test_good_names_stay(key: str) -> None:
    assert mlflow_key(key) == key


def test_the_end_of_a_run_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from fused_clip.tracking import runs

    class Client:
        """Fails for a while."""

        def __init__(self, failures: int, kept: str = "RUNNING") -> None:
            self.failures, self.ended, self.kept = failures, "", kept

        def set_terminated(self, run_id: str, status: str) -> None:
            self.failures -= 1
            if self.failures >= 0:
                raise OSError(5, "Input/output error")
            self.ended = f"{run_id} {status}"

        def get_run(self, run_id: str) -> SimpleNamespace:
            return SimpleNamespace(info=SimpleNamespace(status=self.kept))

    monkeypatch.setattr(runs.time, "sleep", lambda seconds: None)
    for_a_moment, lasting = Client(2), Client(3)
    runs._terminate(for_a_moment, "a", "FAILED")  # type: ignore[arg-type]
    assert for_a_moment.ended == "a FAILED"
    with pytest.raises(OSError, match="Input/output"):
        runs._terminate(lasting, "a", "FAILED")  # type: ignore[arg-type]
    done_and_not_told = Client(3, "FINISHED")
    runs._terminate(done_and_not_told, "a", "FINISHED")  # type: ignore[arg-type]
