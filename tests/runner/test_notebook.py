import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from PIL import Image

import fused_clip
from fused_clip import InputError

WORDS = [
    "references.enabled=false",
    "figures.enabled=false",
    "tracking=none",
    "dataset=digits",
    "dataset.n_train=200",
    "dataset.n_test=50",
    "clusterer=kmeans",
    "backbone._target_=tests.fakes.PixelBackbone",
    "allow=[tests]",
]


def test_a_sweep_gives_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "my outputs"
    words = [*WORDS, "clusters_per_target=2,90", "prompt=task,none"]
    HydraConfig.instance().cfg = None  # an earlier test may have left one
    table = fused_clip.sweep(*words, output_dir=out)
    assert table["prompt"].tolist() == ["task", "none"] * 2
    assert table["error"].str.startswith("clusters_per_target: makes 900").tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert table["test/accuracy"].notna().tolist() == [True, True, False, False]
    assert (Path(table["directory"][0]) / "metrics.json").is_file()
    assert "cell 4 of 4: clusters_per_target=90 prompt=none, failed" in capsys.readouterr().out
    again = fused_clip.sweep(*words, output_dir=out)
    assert again["directory"][:2].tolist() == table["directory"][:2].tolist(), "finished cells are reused"
    assert HydraConfig.instance().cfg is None
    assert not GlobalHydra.instance().is_initialized()


def test_a_dataset_is_that_of_a_run(tmp_path: Path) -> None:
    dataset = fused_clip.load_dataset(*WORDS)
    pixels = list(dataset.test.read())
    assert len(pixels) == len(dataset.test.labels) == 50
    np.testing.assert_array_equal(pixels[7], next(iter(dataset.test.images.read(dataset.test.rows[7:8]))))
    assert dataset.test.ids == _answers(fused_clip.sweep(*WORDS, output_dir=tmp_path))["row_id"].tolist()
    with pytest.raises(InputError, match=r"dataset\.n_test: must be between 10"):
        fused_clip.load_dataset(*WORDS, "dataset.n_test=3")


@pytest.mark.parametrize("words", [["classifier=clap"], ["method=auto"], ["labels.per_class=1"], []])
def test_photos_without_a_label_are_answered(words: list[str], tmp_path: Path) -> None:
    dataset = fused_clip.load_dataset(*WORDS)
    rows, seen = ["path,label"], [0] * 10
    for number, (pixels, label) in enumerate(zip(dataset.train.read(), dataset.train.labels, strict=True)):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{label if seen[label] < 2 else ''}")
        seen[label] += 1
    (tmp_path / "some.csv").write_text("\n".join(rows))
    own = ["dataset=csv", f"dataset.path={tmp_path}/some.csv", "dataset.labels=some"]
    kept = [word for word in WORDS if not word.startswith("dataset")]
    table = fused_clip.sweep(*kept, *own, *words, output_dir=tmp_path / "out")
    assert table["error"].tolist() == [""]
    assert table["labels_used"].tolist() == [10 if words == ["labels.per_class=1"] else 20]
    answers = _answers(table)
    assert len(answers) == 180
    assert answers["target"].isna().all()
    truth = dataset.train.labels[[int(Path(name).stem) for name in answers["row_id"]]]
    assert (answers["predicted"].astype(int) == truth).mean() > 0.2, "more than chance"


def _answers(table: pd.DataFrame) -> pd.DataFrame:
    found = pd.read_parquet(Path(table["directory"][0]) / "predictions.parquet")
    return found[found["split"] == "test"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prompt=task,nope"], r"overrides: .*'prompt/nope'; choose from: custom, "),
        (["promt=task"], "overrides: .*promt"),
        (["seed=-1,-2"], "seed: must be greater than or equal to 0, got -1"),
    ],
)
def test_what_can_not_run_is_refused(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        fused_clip.sweep(*WORDS, *words, output_dir=tmp_path)


def test_the_config_folder_brings_options_and_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "prompt").mkdir(parents=True)
    (tmp_path / "mine" / "prompt" / "scan.yaml").write_text("_target_: notebook_prompts.scans\n")
    (tmp_path / "mine" / "notebook_prompts.py").write_text(
        "from fused_clip.method.prompt import custom\n\n\n"
        "def scans(dataset):\n    return custom(dataset, templates=['a scan of the digit {}'])\n"
    )
    table = fused_clip.sweep(*WORDS, "prompt=scan", output_dir=tmp_path / "out", config_dir="mine")
    assert table["error"].tolist() == [""]


def test_a_quiet_sweep_prints_nothing_and_logs_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    words = [*WORDS, "clusters_per_target=2,90"]
    table = fused_clip.sweep(*words, output_dir=tmp_path, verbose=False)
    assert capsys.readouterr().out == ""
    assert "clusters_per_target: makes 900" in caplog.text
    assert table["error"].ne("").tolist() == [False, True]
    fused_clip.sweep(*words, output_dir=tmp_path)
    assert "cell 1 of 2: clusters_per_target=2" in capsys.readouterr().out


def test_references_are_listed_with_those_of_a_folder(tmp_path: Path) -> None:
    known = fused_clip.references()
    assert known.loc["linear_probe", "uses_labels"] == "yes"
    assert known.loc["zero_shot", ["title", "uses_labels"]].tolist() == ["zero-shot", "no"]
    folder = tmp_path / "reference"
    folder.mkdir()
    (folder / "shuffled.yaml").write_text(
        "# @package reference.shuffled\ntitle: shuffled text\nexplanation: each prompt in another's place\n"
        "uses_labels: as the run\nwhen: text\nreplace: {text: permuted}\n"
    )
    with_own = fused_clip.references(tmp_path)
    assert set(with_own.index) - set(known.index) == {"shuffled"}
    assert with_own.loc["shuffled", "title"] == "shuffled text"


def test_an_option_follows_another_in_each_cell(tmp_path: Path) -> None:
    words = [*WORDS, "seed=0,1", "dataset.seed=${seed}"]
    table = fused_clip.sweep(*words, output_dir=tmp_path, verbose=False)
    configs = [OmegaConf.load(Path(directory, "config.yaml")) for directory in table["directory"]]
    assert [(config.seed, config.dataset.seed) for config in configs] == [(0, 0), (1, 1)]
    test_rows = [
        set(pd.read_parquet(Path(directory, "predictions.parquet")).query("split == 'test'")["row_id"])
        for directory in table["directory"]
    ]
    assert test_rows[0] != test_rows[1]


def test_a_module_that_was_edited_is_used_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine" / "prompt").mkdir(parents=True)
    (tmp_path / "mine" / "prompt" / "scan.yaml").write_text("_target_: edited_prompts.scans\n")
    texts = []
    for template in ("a scan of the digit {}", "the number {}"):
        (tmp_path / "mine" / "edited_prompts.py").write_text(
            "from fused_clip.method.prompt import custom\n\n\n"
            f"def scans(dataset):\n    return custom(dataset, templates=[{template!r}])\n"
        )
        table = fused_clip.sweep(
            *WORDS, "prompt=scan", output_dir=tmp_path / "out", config_dir=tmp_path / "mine", verbose=False
        )
        texts.append(json.loads(Path(table["directory"][0], "result.json").read_text())["texts"][0])
    assert texts == ["a scan of the digit 0", "the number 0"]
