"""How the compact CLIP is trained."""

import copy
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from experiments.compact_clip import checkpoint, train
from experiments.compact_clip.architecture import MODEL
from experiments.compact_clip.corpus import Corpus, make_corpus
from experiments.compact_clip.export import export
from experiments.compact_clip.fit import fit
from experiments.compact_clip.settings import EvaluateSettings, Settings, checked
from fused_clip.backbone.model_source import ASSETS
from fused_clip.runner.cell import commit
from fused_clip.support.errors import InputError
from tests.experiments.compact_clip.corpus import STAGES, make_settings, make_splits, write_mirror

CONF = Path(__file__).parents[3] / "experiments/compact_clip/conf"


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small towers in place of the real ones."""
    tiny = copy.deepcopy(MODEL["model_cfg"])
    tiny["embed_dim"] = 16
    tiny["vision_cfg"]["timm_model_name"] = "test_resnet"
    tiny["text_cfg"] |= {"width": 8, "heads": 2, "layers": 1}
    monkeypatch.setitem(MODEL, "model_cfg", tiny)


@pytest.fixture
def corpus() -> Corpus:
    splits = make_splits()
    return make_corpus(splits, splits[0].images[:2], holdout=4, seed=0)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_model")
def test_resuming_gives_the_weights_of_an_unbroken_run_and_exports(tmp_path: Path, corpus: Corpus) -> None:
    import open_clip
    import torch

    unbroken, history = fit(corpus, make_settings(tmp_path / "a"))
    fit(corpus, make_settings(tmp_path / "b"), stop_after=1)
    resumed, _ = fit(corpus, make_settings(tmp_path / "b"))
    for name, value in unbroken.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, atol=0, rtol=0)
    assert [epoch["image_size"] for epoch in history] == [32, 40]

    fit(corpus, make_settings(tmp_path / "short", stages=STAGES[:1]))
    extended, _ = fit(corpus, make_settings(tmp_path / "short"))
    for name, value in unbroken.state_dict().items():
        torch.testing.assert_close(extended.state_dict()[name], value, atol=0, rtol=0)

    folder = export(unbroken, corpus, make_settings(tmp_path / "a"), history)
    loaded = open_clip.create_model(f"local-dir:{folder}")
    projection = unbroken.state_dict()["text_projection"]
    torch.testing.assert_close(loaded.text_projection.data, projection.half().float())
    facts = json.loads((folder / "training.json").read_text())
    assert facts["trained_on"] == ["mnist/train", "cifar10/train", "cifar100/train"]
    assert facts["learning_curve"] == history
    assert facts["superclasses"] == {"pickup_truck": "vehicles_1", "oak_tree": "trees", "crab": "fish"}
    assert facts["code"].keys() >= {"captions.py", "recipe.py", "model.json"}
    assert facts["commit"] == commit()
    assert facts.items() >= json.loads((tmp_path / "a" / "run.json").read_text()).items()


@pytest.mark.usefixtures("tiny_model")
def test_a_run_of_other_settings_code_or_data_is_refused_and_left_as_it_was(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make_settings(tmp_path)
    fit(corpus, mine, stop_after=1)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"^output_dir: must not hold .* other settings \(learning_rate\)"):
        fit(corpus, make_settings(tmp_path, learning_rate=0.1))
    other = dataclasses.replace(corpus.concepts, superclass_of=(1, 0, 2))
    with pytest.raises(InputError, match=r"other data \(superclasses\)"):
        fit(dataclasses.replace(corpus, concepts=other), mine)
    with pytest.raises(InputError, match=r"other data \(fingerprint\)"):
        fit(dataclasses.replace(corpus, fingerprint="0"), mine)
    monkeypatch.setattr(checkpoint, "code", lambda: dict.fromkeys(checkpoint.CODE, "0"))
    with pytest.raises(InputError, match=r"other code \(.*captions.py, .*, settings.py\)"):
        fit(corpus, mine)
    assert contents(tmp_path) == before


def test_other_settings_are_refused_before_the_images_are_read(tmp_path: Path, corpus: Corpus) -> None:
    checkpoint.write({}, corpus, make_settings(tmp_path))
    with pytest.raises(InputError, match=r"other settings \(seed\)"):
        train.run(make_settings(tmp_path, seed=1, data_dir="/nowhere"))


def test_a_damaged_checkpoint_is_told(tmp_path: Path, corpus: Corpus) -> None:
    settings = make_settings(tmp_path)
    assert checkpoint.read(settings) is None
    checkpoint.write({"history": [1]}, corpus, settings)
    assert checkpoint.read(settings)["history"] == [1]
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (bytes(flipped), whole[:-1], b""):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"output_dir: .*undamaged, got .*Delete it"):
            checkpoint.read(settings)


def test_every_file_that_decides_the_weights_is_in_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint.code()
    shutil.copytree(checkpoint.HERE, tmp_path / "copy")
    monkeypatch.setattr(checkpoint, "HERE", tmp_path / "copy")
    assert checkpoint.code() == before
    recipe = tmp_path / "copy" / "recipe.py"
    recipe.write_text(recipe.read_text().replace('"turn": 6.0', '"turn": 7.0'))
    assert {name for name, digest in checkpoint.code().items() if digest != before[name]} == {"recipe.py"}


def words(folder: Path, mirror: Path) -> list[str]:
    """Words of the command's line for small settings."""
    small = ["batch_size=8", "mnist_per_epoch=8", "holdout=4", "stages=[{epochs: 1, image_size: 32}]"]
    return [f"output_dir={folder}", f"data_dir={mirror}", *small]


@pytest.mark.slow
def test_the_command_trains_on_a_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = write_mirror(tmp_path, make_splits())
    line = ["train", f"--config-path={CONF}", *words(tmp_path / "run", mirror), "hydra/job_logging=none"]
    monkeypatch.setattr(sys, "argv", line)
    train.main()
    names = {path.name for path in (tmp_path / "run" / "export").iterdir()}
    assert names == {"open_clip_config.json", "open_clip_model.safetensors", "training.json"}


@pytest.mark.slow
def test_the_command_says_in_a_line_what_is_wrong(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "experiments.compact_clip.train", *words(tmp_path, tmp_path / "none")]
    done = subprocess.run(line, capture_output=True, text=True, cwd=CONF.parents[2])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"Error: data_dir: must be an existing directory, got '{tmp_path}/none'")


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_model")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": 24}, "^holdout: must leave images to train on, and cifar10 has 24, got 24$"),
        ({"batch_size": 200}, "^batch_size: must be at most the images of an epoch, got 200$"),
        ({"export_dir": "/proc/none"}, "^output_dir: must be a writable folder"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_training(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    mirror = write_mirror(tmp_path, make_splits())
    with pytest.raises(InputError, match=message):
        train.run(make_settings(tmp_path / "run", data_dir=mirror, **changes))
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_run_goes_on_under_more_stages_only_where_a_cycle_ends(tmp_path: Path) -> None:
    first, second = STAGES
    recipe = make_settings(tmp_path, stages=[first]).recipe()
    assert make_settings(tmp_path, stages=[first, second]).continues(recipe)
    assert make_settings(tmp_path, stages=[first]).continues(recipe)
    assert not make_settings(tmp_path, stages=[first, first]).continues(recipe)
    assert not make_settings(tmp_path, stages=[second]).continues(recipe)
    assert not make_settings(tmp_path, stages=[first, second], seed=1).continues(recipe)


def test_a_stage_may_draw_more_digits(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, stages=[STAGES[0], STAGES[1] | {"mnist_per_epoch": 30}])
    assert [settings.digits(epoch) for epoch in range(2)] == [16, 30]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 1}, "batch_size"),
        ({"stages": []}, "stages"),
        ({"stages": [{"epochs": 0, "image_size": 64}]}, "epochs"),
        ({"ema_decay": 1}, "ema_decay"),
        ({"learnin_rate": 0.1}, "learnin_rate"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_settings(tmp_path, **change)


def composed(entry: str, kind: type[Any]) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return checked(kind, compose(entry))


def test_the_configuration_is_the_one_that_the_shipped_weights_were_trained_by() -> None:
    facts = json.loads((ASSETS / "compact" / "training.json").read_text())
    assert composed("train", Settings).recipe() == facts["recipe"]


def test_the_configuration_of_the_evaluation_is_valid() -> None:
    assert composed("evaluate", EvaluateSettings).model == "compact"
