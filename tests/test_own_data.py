"""A user's own images and vectors through the real command line, with the names that she gives them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fused_clip import load_model
from fused_clip.predict.__main__ import main as predict
from fused_clip.runner.artifacts import read_metrics
from fused_clip.tracking.values import metric_name
from tests.databases import with_database
from tests.forks import completed
from tests.test_run import run_directories
from tests.tiny_clip import save_tiny_clip

CLASSES = ("10", "2", "<script>alert(1)</script>", "a=b [c]", "café $x^2$", "yes/no: {0}", "日本")
IN_ORDER = ("2", "10", "<script>alert(1)</script>", "a=b [c]", "café $x^2$", "yes/no: {0}", "日本")
SLUGS = ("2", "10", "script-alert-1-script", "a-b-c", "cafe-x-2", "yes-no-0", "target")
SMALL = ("clusterer=kmeans", "clusters_per_target=1", "figures.points=20", "backbone.device=cpu")


def paint(folder: Path) -> str:
    """Six noisy images of one colour for each class, and the csv that lists them."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["file name,label"]
    for number, label in enumerate(CLASSES):
        colour = rng.integers(0, 256, 3)
        for index in range(6):
            name = f"{number} é=[{index}].png"
            pixels = np.clip(colour + rng.integers(-9, 9, (20, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name)
            rows.append(f'{name},"{label}"')
    (folder / "list.csv").write_text("\n".join(rows), encoding="utf-8")
    return str(folder / "list.csv")


@pytest.mark.slow
def test_names_come_through_to_files_figures_and_mlflow(tmp_path: Path) -> None:
    with_database(tmp_path / "outputs")
    path = paint(tmp_path / "my photos [2]=x, y")
    clip = save_tiny_clip(tmp_path / "clip")
    done = completed(
        "dataset=csv",
        f'dataset.path="{path}"',
        'dataset.image_column="file name"',
        "dataset.test_fraction=0.34",
        "backbone=compact",
        f"backbone.model=local-dir:{clip}",
        *SMALL,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (directory,) = run_directories(tmp_path)
    predictions = pd.read_parquet(directory / "predictions.parquet")
    assert set(predictions["target"]) == set(CLASSES)
    numbers = [CLASSES.index(target) for target in predictions["target"]]
    assert [int(name.split()[0]) for name in predictions["row_id"]] == numbers
    with np.load(directory / "embeddings.npz") as arrays:
        assert tuple(arrays["target_names"]) == IN_ORDER
    assert {path.name for path in directory.glob("figures/*.png")} >= {"tsne.png", "confusion.png"}
    metrics = read_metrics(directory)
    recalls = {key for key in metrics if key.startswith("test/recall/")}
    assert recalls == {f"test/recall/{index}-{slug}" for index, slug in enumerate(SLUGS)}

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "fused_clip"]
    (run,) = client.search_runs([experiment.experiment_id])
    logged = {metric_name(chart): value for chart, value in run.data.metrics.items()}
    assert logged == pytest.approx(metrics)
    articles = ["an" if name[0] == "a" else "a" for name in IN_ORDER]
    prompts = [f"This is {a} {name}" for a, name in zip(articles, IN_ORDER, strict=True)]
    assert run.data.tags["prompts"] == " | ".join(prompts)
    assert path in json.loads(run.inputs.dataset_inputs[0].dataset.source)["uri"]


@pytest.mark.slow
def test_a_class_missing_in_one_split_comes_through(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("train/cat", "train/dog", "train/emu", "test/cat", "test/dog", "test/owl")
    ):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(4):
            grey = 60 * (number % 3) + index
            Image.new("RGB", (20, 20), (grey, grey, 99)).save(tmp_path / "photos" / name / f"{index}.png")
    clip = save_tiny_clip(tmp_path / "clip")
    done = completed(
        "dataset=imagefolder",
        "dataset.root=photos",
        "backbone=compact",
        f"backbone.model=local-dir:{clip}",
        "tracking=none",
        *SMALL,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert "Classes without a training image, never predicted where labels name the clusters: owl" in told
    assert "Classes without a test image: emu" in told
    (directory,) = run_directories(tmp_path)
    predictions = pd.read_parquet(directory / "predictions.parquet").query("split == 'test'")
    assert predictions["target"].tolist() == ["cat"] * 4 + ["dog"] * 4 + ["owl"] * 4
    assert set(predictions["predicted"]) <= {"cat", "dog", "emu"}
    metrics = read_metrics(directory)
    assert metrics["test/recall/3-owl"] == 0
    assert metrics["test/accuracy"] == pytest.approx(
        np.mean(predictions["target"] == predictions["predicted"])
    )
    assert "test/recall/2-emu" not in metrics
    assert {path.name for path in directory.glob("figures/*.png")} >= {"tsne.png", "confusion.png"}


def vectors(folder: Path, **changed: object) -> str:
    rng = np.random.default_rng(0)
    labels = np.repeat(["cat", "dog"], 20)
    rows = rng.normal(size=(40, 6)) + 4 * (labels == "cat")[:, None]
    arrays = {"vectors": rows, "labels": labels, "text_vectors": np.eye(6)[:2], "text_labels": ["cat", "dog"]}
    np.savez(folder / "vectors.npz", **{**arrays, **changed})  # type: ignore[arg-type]
    return str(folder / "vectors.npz")


@pytest.mark.slow
def test_vectors_run_without_a_model_or_an_image(tmp_path: Path) -> None:
    with_database(tmp_path / "outputs")
    path = vectors(tmp_path)
    done = completed(
        "dataset=embeddings",
        f"dataset.path={path}",
        "dataset.captions.task='{}'",
        *SMALL,
        "figures.enabled=false",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (directory,) = run_directories(tmp_path)
    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics["test/accuracy"] == 1
    assert {"reference/zero_shot_accuracy", "words_in_fusion"} <= set(metrics)
    assert not list(tmp_path.glob("outputs/store/images-*"))
    assert f"fused_clip.load_model('{directory}').predict_embeddings(" in done.stdout
    with np.load(path) as arrays:
        found = load_model(directory).predict_embeddings(arrays["vectors"]).targets
        assert (found == arrays["labels"]).all()

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.data.params["backbone"] == "precomputed"


def test_vectors_that_cannot_be_are_one_line(tmp_path: Path) -> None:
    path = vectors(tmp_path, vectors=np.full((40, 6), np.nan))
    done = completed("dataset=embeddings", f"dataset.path={path}", "tracking=none", cwd=tmp_path)
    assert done.returncode == 1
    assert "Error: dataset.vector_column: must be finite and not zero in every row; 40 of 40" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_flat_folder_and_names_of_classes_are_enough(tmp_path: Path) -> None:
    paint(tmp_path / "photos")
    clip = save_tiny_clip(tmp_path / "clip")
    done = completed(
        "dataset=imagefolder",
        "dataset.root=photos",
        "dataset.labels=none",
        "dataset.classes=[cat,dog]",
        "pairing=zero_shot",
        "vote=prompt",
        "backbone=compact",
        f"backbone.model=local-dir:{clip}",
        *SMALL,
        "figures.enabled=false",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Not computed, because there are no labels: accuracy" in done.stdout
    (directory,) = run_directories(tmp_path)
    predictions = pd.read_parquet(directory / "predictions.parquet")
    assert len(predictions) == 6 * len(CLASSES)
    assert predictions["target"].isna().all()
    assert set(predictions["predicted"]) <= {"cat", "dog"}

    assert "Model (uncalibrated: made without labels):  fused-clip-predict" in done.stdout
    assert not load_model(directory).calibrated
    predict([str(directory), str(tmp_path / "photos"), "--out", str(tmp_path / "answers.csv")])
    answers = pd.read_csv(tmp_path / "answers.csv")
    by_name = dict(zip(answers["path"].map(lambda path: Path(path).name), answers["target"], strict=True))
    assert by_name == dict(zip(predictions["row_id"], predictions["predicted"], strict=True))
    assert answers["probability"].isna().all()

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.data.tags["labels"] == "none"
    assert run.data.tags["uses_labels"] == "false"
    assert "accuracy" in run.data.tags["not_known_without_labels"]
    assert not {key for key in run.data.metrics if key.startswith(("test/", "test vs/"))}
