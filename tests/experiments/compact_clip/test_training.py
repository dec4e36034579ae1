"""How the compact CLIP is trained."""

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.compact_clip.corpus import make_splits

CONF = Path(__file__).parents[3] / "experiments/compact_clip/conf"
STAGES = [{"epochs": 1, "image_size": 32}, {"epochs": 1, "image_size": 40, "restart": 1e-3}]


def make_settings(folder: Path, **changes: Any) -> Any:
    from experiments.compact_clip.settings import Settings

    return Settings.model_validate(
        {"output_dir": folder, "stages": STAGES, "batch_size": 24, "mnist_per_epoch": 16, "holdout": 4}
        | changes
    )


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small towers in place of the real ones."""
    from experiments.compact_clip import fit

    tiny = copy.deepcopy(fit.MODEL)
    tiny["model_cfg"]["embed_dim"] = 16
    tiny["model_cfg"]["vision_cfg"]["timm_model_name"] = "test_resnet"
    tiny["model_cfg"]["text_cfg"] |= {"width": 8, "heads": 2, "layers": 1}
    monkeypatch.setattr(fit, "MODEL", tiny)


@pytest.mark.usefixtures("tiny_model")
def test_resuming_gives_the_weights_of_an_unbroken_run_and_exports(tmp_path: Path) -> None:
    import open_clip
    import torch

    from experiments.compact_clip.export import export, read_facts
    from experiments.compact_clip.fit import fit, make_corpus

    splits = make_splits()
    corpus = make_corpus(splits, splits[0].images[:2], holdout=4, seed=0)
    unbroken, history = fit(corpus, make_settings(tmp_path / "a"))
    fit(corpus, make_settings(tmp_path / "b"), stop_after=1)
    resumed, _ = fit(corpus, make_settings(tmp_path / "b"))
    for name, value in unbroken.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, atol=0, rtol=0)
    assert [epoch["image_size"] for epoch in history] == [32, 40]

    with pytest.raises(ValueError, match="another recipe"):
        fit(corpus, make_settings(tmp_path / "a", learning_rate=0.1))
    fit(corpus, make_settings(tmp_path / "short", stages=STAGES[:1]))
    extended, _ = fit(corpus, make_settings(tmp_path / "short"))
    for name, value in unbroken.state_dict().items():
        torch.testing.assert_close(extended.state_dict()[name], value, atol=0, rtol=0)

    folder = export(unbroken, corpus, make_settings(tmp_path / "a"), history)
    loaded = open_clip.create_model(f"local-dir:{folder}")
    projection = unbroken.state_dict()["text_projection"]
    torch.testing.assert_close(loaded.text_projection.data, projection.half().float())
    facts = read_facts(folder)
    assert facts["trained_on"] == ["mnist/train", "cifar10/train", "cifar100/train"]
    assert facts["learning_curve"] == history


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


@pytest.mark.parametrize("entry", ["train", "evaluate"])
def test_the_shipped_configuration_is_valid(entry: str) -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from experiments.compact_clip.settings import EvaluateSettings, Settings

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = OmegaConf.to_container(compose(entry), resolve=True)
    {"train": Settings, "evaluate": EvaluateSettings}[entry].model_validate(cfg)
