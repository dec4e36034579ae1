"""The command line as a user meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fused_clip import __version__, load_model
from fused_clip.report.report_command import main as report
from fused_clip.runner import artifacts
from tests.databases import with_database
from tests.forks import completed
from tests.runner.test_full_disk import runs_in

HEAVY = ("torch", "open_clip", "datasets", "sklearn", "mlflow", "matplotlib", "faiss", "pandas", "pyarrow")
FEW = ["dataset=digits", "dataset.n_train=200", "dataset.n_test=100"]
FAST = ["references.enabled=false", "figures.enabled=false", "clusterer=kmeans", *FEW]


def run_directories(cwd: Path) -> list[Path]:
    return sorted(path.parent for path in cwd.glob("outputs/[rs]*/**/metrics.json"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--cfg", "job"],
        ["--info", "searchpath"],
        ["seed=-1"],
        ["dataset=no_such_dataset"],
        ["no_such_option=1"],
        ["--version"],
        ["-m", "prompt=task,none", "seed=-1", "tracking=none"],
    ],
)
def test_answers_come_without_heavy_imports(arguments: list[str], tmp_path: Path) -> None:
    assert loaded(arguments, HEAVY, tmp_path) == []


def loaded(arguments: list[str], names: tuple[str, ...], cwd: Path) -> list[str]:
    """Which of some modules a command imports."""
    script = (
        "import sys, runpy, atexit\n"
        f"atexit.register(lambda: print('LOADED', *sorted(set({names!r}) & set(sys.modules))))\n"
        "runpy.run_module('fused_clip.run', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    return line.split()[1:]


@pytest.mark.slow
def test_a_sweep_imports_what_its_cells_use(tmp_path: Path) -> None:
    words = ["-m", "prompt=task,none", "figures.enabled=false", *FEW]
    embedding, drawing = ("torch", "open_clip", "torchvision", "datasets"), ("matplotlib", "openTSNE")
    computing, logging = ("faiss", "safetensors"), ("mlflow.pyfunc",)
    names = (*embedding, *drawing, *computing, *logging)
    first = loaded([*words, "seed=0"], names, tmp_path)
    assert {"torch", "faiss"} <= set(first)
    assert not {"datasets", *drawing} & set(first)
    assert loaded([*words, "seed=1"], names, tmp_path) == sorted((*computing, *logging))
    assert loaded([*words, "seed=1"], names, tmp_path) == []


def test_help_lists_groups_and_options(tmp_path: Path) -> None:
    shown = completed("--help", cwd=tmp_path).stdout
    for word in ("dataset: ", "mnist_5k", "prompt: ", "hierarchical", "clusterer: ", "hdbscan"):
        assert word in shown


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", "Error: seed: must be greater than or equal to 0, got -1"),
        pytest.param("dataset.n_train=5", "Error: dataset.n_train: ", marks=pytest.mark.slow),
        ("clusters_per_target=1000", "Error: clusters_per_target: makes 10000 clusters"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_1(override: str, message: str, tmp_path: Path) -> None:
    done = completed(override, "dataset=digits", "tracking=none", cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    assert completed("--version", cwd=tmp_path).stdout == f"fused_clip {__version__}\n"


def test_other_letters_in_a_key_are_refused_with_a_way(tmp_path: Path) -> None:
    for mode in ([], ["-m"]):
        done = completed(*mode, "dataset.display_names={кот: cat}", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("Error: dataset.display_names: ")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["clusters_per_target=900", "vote=prompt", "dataset.n_train=5"])
@pytest.mark.parametrize("mode", [[], ["-m", "seed=0,1"]])
def test_what_is_found_before_work_leaves_no_run(fault: str, mode: list[str], tmp_path: Path) -> None:
    with_database(tmp_path / "outputs")
    done = completed(*mode, *FAST, fault, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {fault.partition('=')[0]}: ")
    assert runs_in(tmp_path / "outputs" / "mlflow.db") == []


@pytest.fixture
def with_modules(tmp_path: Path) -> Path:
    """A working directory with a module, and a config folder with another, whose prompts are options."""
    code = "from fused_clip.method.prompt import custom\n\n\ndef scans(dataset):\n"
    code += "    return custom(dataset, templates=['a scan of the digit {}'])\n"
    (tmp_path / "mine" / "prompt").mkdir(parents=True)
    for name, module in (("scan", "in_folder"), ("other", "in_cwd")):
        (tmp_path / "mine" / "prompt" / f"{name}.yaml").write_text(f"_target_: {module}.scans\n")
    (tmp_path / "mine" / "in_folder.py").write_text(code)
    (tmp_path / "in_cwd.py").write_text(code)
    return tmp_path


PIXELS = "backbone._target_=tests.fakes.PixelBackbone"
MINE = ("--config-dir", "mine", *FAST, PIXELS, "tracking=none", "resume=false")
ALLOWED = ("--allow", "in_cwd,tests")


@pytest.mark.slow
def test_modules_of_the_working_directory_and_the_config_folder_are_found(with_modules: Path) -> None:
    """In a process whose path holds neither folder."""
    for words in (["prompt=scan"], ["prompt._target_=in_cwd.scans"], ["prompt=scan,other", "-m"]):
        done = completed(*MINE, *words, *ALLOWED, cwd=with_modules)
        assert done.returncode == 0, done.stderr
    assert len(run_directories(with_modules)) == 4


@pytest.mark.slow
def test_processes_of_the_console_script_find_modules(with_modules: Path) -> None:
    """The script's own folder stands first in Python's path."""
    script = with_modules / "bin" / "fused-clip"
    script.parent.mkdir()
    script.write_text("from fused_clip.run import main\n\nif __name__ == '__main__':\n    main()\n")
    words = ["hydra/launcher=joblib", "prompt=scan,other", *ALLOWED]
    done = subprocess.run(
        [sys.executable, script, "-m", *MINE, *words],
        cwd=with_modules,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert len(run_directories(with_modules)) == 2


def test_a_module_of_the_working_directory_is_not_imported_unasked(tmp_path: Path) -> None:
    (tmp_path / "in_cwd.py").write_text("open('imported', 'w')\n")
    done = completed("prompt._target_=in_cwd.scans", *FAST, "tracking=none", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: prompt._target_: must be a part of the group prompt, ")
    assert done.stderr.endswith(". If you trust the module, add --allow in_cwd\n")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "imported").exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", [[], ["-m", "seed=0,1"]])
def test_a_tracking_server_that_is_not_there_is_told_before_work(mode: list[str], tmp_path: Path) -> None:
    done = completed(*mode, *FAST, "tracking.uri=http://127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 1
    assert "Error: tracking.uri: " in done.stderr
    assert "'http://127.0.0.1:1'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs" / "store").exists()


@pytest.mark.slow
def test_a_run_leaves_what_it_promises(tmp_path: Path) -> None:
    done = completed("dataset=digits", "figures.points=200", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (directory,) = run_directories(tmp_path)
    metrics = json.loads((directory / "metrics.json").read_text())
    assert 0.8 < metrics["test/accuracy"] <= 1
    for key in ("train/ari", "train/silhouette", "reference/image_only_accuracy", "words_in_fusion"):
        assert key in metrics
    predictions = pd.read_parquet(directory / "predictions.parquet")
    test = predictions[predictions["split"] == "test"]
    assert (test["target"] == test["predicted"]).mean() == pytest.approx(metrics["test/accuracy"])
    with np.load(directory / "embeddings.npz") as arrays:
        assert len(arrays["train_fused"]) == (predictions["split"] == "train").sum()
        keys = json.loads(str(arrays["store_keys"]))
    manifests = "".join(path.read_text() for path in tmp_path.glob("outputs/store/images-*/manifest.json"))
    assert len(keys) == 3
    assert all(key and key in manifests for key in keys.values())
    assert (directory / "config.yaml").is_file()
    model = load_model(directory)
    assert model.predict([np.zeros((8, 8, 3), np.uint8)])[0] in model.names
    assert 0 <= metrics["test/ece"] < 0.2
    assert 0 <= metrics["test/brier"] < 0.5
    figures = {path.name for path in directory.glob("figures/*")}
    assert {"tsne.png", "confusion.png", "composition.png"} <= figures
    assert (tmp_path / "outputs" / "mlflow.db").is_file()
    for word in ("words in fusion", "text in all", "linear probe", "mlflow", "tsne.png"):
        assert word in done.stdout


@pytest.mark.slow
def test_a_sweep_survives_a_failing_job_and_says_so(tmp_path: Path) -> None:
    with_database(tmp_path / "outputs")
    done = completed("-m", *FAST, "seed=0,1", "clusters_per_target=2,900", cwd=tmp_path)
    assert done.returncode == 1
    assert "4 jobs" in done.stdout
    assert done.stdout.count("compact was trained on") == 1, "notes are logged once a sweep"
    assert done.stdout.count("FAILED") >= 2
    assert "clusters_per_target: makes 9000 clusters" in done.stdout
    assert len(run_directories(tmp_path)) == 2

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "fused_clip"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert [run.info.status for run in children] == ["FINISHED"] * 2, "the others were never opened"
    assert parent.info.status == "FAILED"

    assert report(["--study", "default", "--output-dir", str(tmp_path / "outputs")]) == 1
    page = (tmp_path / "outputs" / "reports" / "default" / "report.md").read_text()
    assert "2 of 4 cells failed" in page
    assert "makes 9000 clusters" in page


@pytest.mark.slow
def test_a_second_run_embeds_nothing_again(tmp_path: Path) -> None:
    for _ in range(2):
        assert completed(*FAST, "tracking=none", cwd=tmp_path).returncode == 0
    first, second = run_directories(tmp_path)
    assert "images_per_second" in (first / "timings.json").read_text()
    assert "images_per_second" not in (second / "timings.json").read_text()
    assert (first / "metrics.json").read_bytes() == (second / "metrics.json").read_bytes()
    assert (tmp_path / "outputs" / "latest").resolve() == second
    assert load_model(tmp_path / "outputs" / "latest").names == load_model(second).names


@pytest.mark.slow
def test_a_sweep_takes_finished_cells_as_they_are(tmp_path: Path) -> None:
    sweep = ["-m", *FAST, "tracking=none"]
    assert completed(*sweep, "seed=0", cwd=tmp_path).returncode == 0
    (first,) = run_directories(tmp_path)
    done = completed(*sweep, "seed=0,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(run_directories(tmp_path)) == 2, "only the new cell runs"
    records = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/sweeps/**/record.json")]
    (reused,) = [record for record in records if record["reused_from"]]
    assert reused["reused_from"] == str(first)
    assert reused["metrics"] == artifacts.read_metrics(first)


@pytest.mark.slow
def test_users_add_options_from_their_own_directory(tmp_path: Path) -> None:
    (tmp_path / "mine" / "prompt").mkdir(parents=True)
    option = '_target_: fused_clip.method.prompt.custom\ntemplates: ["a scan of the digit {}"]\n'
    (tmp_path / "mine" / "prompt" / "scan.yaml").write_text(option)
    done = completed("--config-dir", "mine", *FAST, "prompt=scan", "tracking=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_paths_with_spaces_brackets_and_equals_signs(tmp_path: Path) -> None:
    odd = tmp_path / "a b [c]=d"
    odd.mkdir()
    done = completed(*FAST, "'output_dir=\"out [1]=x y\"'".strip("'"), cwd=odd)
    assert done.returncode == 0, done.stderr
    assert (odd / "out [1]=x y" / "mlflow.db").is_file()
