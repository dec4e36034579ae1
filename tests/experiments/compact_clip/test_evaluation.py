"""The figures that are told of the compact CLIP: accuracies, speed, tables, the curve."""

import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.compact_clip import evaluate, learning_curve, record
from experiments.compact_clip.data import Split
from experiments.compact_clip.settings import EvaluateSettings
from experiments.compact_clip.zero_shot import paper_tasks
from fused_clip.backbone import OpenClipBackbone
from fused_clip.backbone.model_source import ASSETS
from fused_clip.support.arrays import FloatArray
from fused_clip.support.errors import InputError
from tests.experiments.compact_clip.corpus import write_mirror

CONF = Path(__file__).parents[3] / "experiments/compact_clip/conf"
Accuracy = Callable[[Split, list[str], Any], float]

FACTS = json.loads((ASSETS / "compact" / "training.json").read_text())
#: Fine labels of the paper's subsets, five of the first group, then five of the second.
SUBSETS = {
    "cifar100_1 object/animal": (8, 9, 20, 22, 25, 3, 21, 30, 31, 32),
    "cifar100_2 vehicle/plant": (13, 48, 58, 69, 90, 52, 47, 56, 96, 59),
    "cifar100_3 aquatic animal/insect": (1, 26, 30, 32, 45, 6, 7, 14, 18, 24),
    "cifar100_4 mammal/reptile": (3, 34, 31, 43, 88, 27, 44, 78, 93, 29),
    "cifar100_5 animal/plant": (65, 66, 67, 3, 34, 52, 47, 56, 96, 59),
}


def pictures(name: str, rows_of_class: int, seed: int) -> Split:
    """Coarse patterns, with the names of the real classes."""
    names = tuple(FACTS["classes"][name])
    labels = np.repeat(np.arange(len(names)), rows_of_class)
    coarse = np.random.default_rng(seed).integers(0, 256, (len(labels), 4, 4, 3), dtype=np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    if name != "cifar100":
        return Split(name, images[..., 0] if name == "mnist" else images, labels, names)
    return Split(name, images, labels, names, ("thing",), np.zeros_like(labels))


@pytest.fixture(scope="module")
def tests() -> dict[str, Split]:
    return {name: pictures(name, 6, seed) for seed, name in enumerate(FACTS["classes"])}


@pytest.fixture(scope="module")
def mirror(tests: dict[str, Split], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    write_mirror(folder, [pictures(name, 1, 9) for name in tests])
    return write_mirror(folder, list(tests.values()), "test")


@pytest.fixture(scope="module")
def figures(mirror: Path) -> dict[str, float]:
    return evaluate.accuracies(EvaluateSettings(data_dir=mirror, output_dir=mirror / "outputs"))


@pytest.fixture(scope="module")
def accuracy(tests: dict[str, Split]) -> Accuracy:
    """Share of a split's rows of classes with a target whose nearest prompt is that."""
    backbone = OpenClipBackbone("compact")

    @cache
    def rows(name: str) -> FloatArray:
        images = tests[name].images
        return backbone.encode_images(
            list(images if images.ndim == 4 else images[..., None].repeat(3, axis=3))
        )

    def share(split: Split, prompts: list[str], target_of_class: Any) -> float:
        targets = np.asarray(target_of_class)[split.labels]
        texts = backbone.encode_texts(prompts)
        cosines = rows(split.name) @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T
        return float((cosines.argmax(axis=1) == targets)[targets >= 0].mean())

    return share


@pytest.mark.slow
def test_held_out_and_test_rows_are_asked_the_same(
    figures: dict[str, float], tests: dict[str, Split], accuracy: Accuracy
) -> None:
    tasks = [(split, task) for split in tests.values() for task in paper_tasks(split)]
    assert {task.name for _, task in tasks} == record.AIMS.keys()
    for split, task in tasks:
        assert figures[task.name] == accuracy(split, task.prompts, task.target_of_class), task.name


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBSETS)
def test_subsets_are_the_papers(
    figures: dict[str, float], tests: dict[str, Split], accuracy: Accuracy, name: str
) -> None:
    split, classes = tests["cifar100"], list(SUBSETS[name])
    place, group = np.full((2, 100), -1)
    place[classes], group[classes] = np.arange(10), np.arange(10) // 5
    subset, _, groups = name.partition(" ")
    prompts = [f"This is a {split.class_names[index]}" for index in classes]
    assert figures[subset] == accuracy(split, prompts, place)
    prompts = [f"This is {'an' if text[0] in 'aeiou' else 'a'} {text}" for text in groups.split("/")]
    assert figures[name] == accuracy(split, prompts, group)
    assert len(figures) == len(evaluate.TASKS) == len(record.AIMS) + 2 * len(SUBSETS)


def test_speed_counts_the_images_that_were_embedded(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, _ = evaluate.make("cifar10", "task", EvaluateSettings(data_dir=mirror))
    ticks = itertools.count(step=2)
    monkeypatch.setattr(evaluate, "clock", lambda: float(next(ticks)))
    assert evaluate.images_per_second("compact", dataset.test, runs=3) == [30.0, 30.0, 30.0]


FIGURES = {
    "accuracy": {**dict.fromkeys(record.AIMS, 0.98765), "cifar100_1": 0.5},
    "held_out": {"mnist": 0.9},
    "load_seconds": [0.5, 0.25, 0.3],
    "images_per_second": [1000.4, 1200.0],
    "environment": {"processor": "P", "threads": 1, "cores": 2},
}


def test_tables_tell_aims_held_out_rows_and_spread(tmp_path: Path) -> None:
    record.write(FIGURES, tmp_path / "results")
    rows = {path.name: path.read_text().splitlines() for path in (tmp_path / "results").glob("*.csv")}
    assert rows["zero_shot.csv"][1:3] == ["mnist,99.3,90.0,98.77", "mnist even/odd,97.0,,98.77"]
    assert rows["subsets.csv"][1:] == ["cifar100_1,50.00"]
    assert rows["speed.csv"][1:] == [
        '"seconds to load, imports left out",below 1,0.30,0.25 to 0.50,3,"P, 1 of 2 cores"',
        'images a second in bf16,at least 1000,1100,1000 to 1200,2,"P, 1 of 2 cores"',
    ]
    assert json.loads((tmp_path / "results" / "evaluation.json").read_text()) == FIGURES
    assert "| mnist | 99.3 | 90.0 | 98.77 |" in " ".join(record.text(FIGURES).split())


def test_the_recorded_tables_are_of_the_shipped_weights() -> None:
    figures = json.loads((evaluate.RESULTS / record.RECORD).read_text())
    assert figures["weights_sha256"] == FACTS["weights_sha256"]
    assert figures["held_out"] == FACTS["learning_curve"][-1]["held_out"]
    assert len(figures["accuracy"]) == len(evaluate.TASKS)
    for name, rows in record.tables(figures).items():
        with (evaluate.RESULTS / name).open(newline="") as file:
            assert list(csv.reader(file)) == rows


@pytest.mark.parametrize("changes", [{"n_test": 10}, {"model": f"local-dir:{ASSETS / 'compact'}"}])
def test_only_the_shipped_model_on_all_rows_is_recorded(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="record: goes with model=compact and n_test=null"):
        evaluate.evaluate(EvaluateSettings(record=True, **changes))


def words(mirror: Path, *more: str) -> list[str]:
    """Words of the command's line; Hydra's folder is the mirror."""
    folders = [f"data_dir={mirror}", f"output_dir={mirror / 'outputs'}", f"hydra.run.dir={mirror / 'run'}"]
    return [*folders, "runs=1", *more]


@pytest.mark.slow
def test_the_command_prints_what_it_measured(
    mirror: Path,
    figures: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["evaluate", f"--config-path={CONF}", *words(mirror, "hydra/job_logging=none")]
    )
    evaluate.main()
    said = " ".join(capsys.readouterr().out.split())
    assert f"| cifar100_1 | {100 * figures['cifar100_1']:.2f} |" in said
    assert "| seconds to load, imports left out | below 1 | " in said


def test_the_command_says_in_a_line_what_is_wrong(mirror: Path) -> None:
    line = [sys.executable, "-m", "experiments.compact_clip.evaluate", *words(mirror, "n_test=0")]
    done = subprocess.run(line, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert (done.returncode, done.stderr) == (1, "Error: n_test: must be greater than or equal to 1, got 0\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_dir": "/nowhere"}, "data_dir: must be an existing directory"),
        ({"model": "local-dir:/nowhere"}, "backbone.model: must be a folder"),
    ],
)
def test_what_is_not_there_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate.evaluate(EvaluateSettings.model_validate(changes))


def test_the_learning_curve_is_drawn_from_the_models_own_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    learning_curve.draw("compact", tmp_path / "curve.png")
    lines = {line.get_label(): line.get_xydata() for line in drawn[0].axes[0].get_lines()}
    expected = [(row["epoch"], row["held_out"]["cifar100"]) for row in FACTS["learning_curve"]]
    np.testing.assert_array_equal(lines["cifar100"], expected)
    assert lines.keys() >= record.AIMS.keys()


def test_a_model_without_a_curve_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text((ASSETS / "compact/open_clip_config.json").read_text())
    with pytest.raises(SystemExit, match=r"^Error: model: must have a learning_curve in its training\.json"):
        learning_curve.main(["--model", f"local-dir:{tmp_path}", "--target", str(tmp_path / "curve.png")])
    with pytest.raises(SystemExit, match=r"^Error: backbone.model: must be"):
        learning_curve.main(["--model", "none", "--target", str(tmp_path / "curve.png")])
