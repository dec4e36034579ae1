"""Typed options: what is refused, and how it is said."""

import copy
import functools
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from sklearn.cluster import KMeans

from fused_clip.method.fusion import LinearFusion
from fused_clip.runner.config import FusionOptions, Options, build, check, defaults
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError


@functools.cache
def _composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("config", overrides=["study=test", "data_dir=null", *overrides])


def composed(*overrides: str) -> DictConfig:
    """Compose as the command line does, with the interpolations that Hydra's runtime fills."""
    return copy.deepcopy(_composed(*overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", r"^seed: must be greater than or equal to 0, got -1"),
        ("seed=1.5", r"^seed: must be a valid integer, got 1\.5"),
        ("seed=true", r"^seed: must be a valid integer, got True"),
        (
            "clusters_per_target=0",
            r"^clusters_per_target: must be 'auto' or a number greater than or equal to 1, got 0",
        ),
        ("vote=majority", r"^vote: must be 'label', 'prompt' or 'hungarian', got 'majority'"),
        ("resume='yes'", r"^resume: must be a valid boolean, got 'yes'"),
        ("references.draws=0", r"^references\.draws: must be greater than or equal to 1"),
        ("references.enabled=1", r"^references\.enabled: must be a valid boolean, got 1"),
        ("figures.points=3", r"^figures\.points: must be greater than or equal to 10, got 3"),
        ("dataset.n_train=0", r"^dataset\.n_train: must be greater than or equal to 1, got 0"),
        ("dataset.n_test=many", r"^dataset\.n_test: must be a valid integer, got 'many'"),
        ("dataset.test_fraction=1", r"^dataset\.test_fraction: must be less than 1"),
        ("dataset.from_split=train", r"^dataset\.from_split: must be 'test', got 'train'"),
        ("dataset.on_bad_image=ignore", r"^dataset\.on_bad_image: must be 'error' or 'skip'"),
        ("dataset.seed=-3", r"^dataset\.seed: must be greater than or equal to 0"),
        ("dataset.class_names=[true,no]", r"^dataset\.class_names\.0: must be a name; YAML reads it as True"),
        ("dataset.class_names=[null]", r"^dataset\.class_names\.0: must be a name; YAML reads it as None"),
        ("dataset.max_pixels=0", r"^dataset\.max_pixels: must be greater than or equal to 1, got 0"),
        ("+dataset.groups={pet: []}", r"^dataset\.groups\.pet: List should have at least 1 item"),
        ("dataset.swap=sideways", r"^dataset\.swap: must be 'previous' or 'next'"),
        ("backbone.precision=fp16", r"^backbone\.precision: must be 'auto', 'float32' or 'bfloat16'"),
        ("backbone.device=gpu", r"^backbone\.device: String should match pattern"),
        ("backbone.batch_size=70000", r"^backbone\.batch_size: must be less than or equal to 65536"),
        ("backbone.batch_size=0", r"^backbone\.batch_size: must be greater than or equal to 1"),
        ("pairing.fraction=1.01", r"^pairing\.fraction: must be less than or equal to 1"),
        ("fusion.alpha=-0.1", r"^fusion\.alpha: must be greater than or equal to 0"),
        ("fusion.normalize_inputs=0", r"^fusion\.normalize_inputs: must be a valid boolean"),
        ("clusterer.n_neighbors=1", r"^clusterer\.n_neighbors: must be greater than or equal to 2"),
        ("clusterer.linkage=wards", r"^clusterer\.linkage: must be 'ward', 'complete'"),
        ("study=''", r"^study: String should have at least 1 character"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(composed(override))


def test_all_complaints_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        check(composed("seed=-1", "vote=none", "dataset.n_train=0"))
    assert len(str(caught.value).splitlines()) == 3


def test_numbers_become_names() -> None:
    options = check(composed("dataset=imagefolder", "dataset.class_names=[0,1]", "dataset.groups={7:[0,1]}"))
    assert options.dataset.class_names == ["0", "1"]
    assert options.dataset.groups == {"7": ["0", "1"]}


def test_what_is_missing_is_named() -> None:
    cfg = composed()
    OmegaConf.update(cfg, "dataset.name", "???")
    with pytest.raises(InputError, match=r"dataset\.name"):
        check(cfg)


def fusion_options(**own: Any) -> FusionOptions:
    shared = {"alpha": 0.25, "normalize_inputs": False, "normalize_output": False}
    return FusionOptions.model_validate({**shared, **own})


def test_build_passes_the_shared_keys_that_a_target_takes() -> None:
    assert build(fusion_options(_target_="fused_clip.method.fusion.weighted")) == LinearFusion(0.25, 0.75)
    assert build(fusion_options(_target_="fused_clip.method.fusion.mean")) == LinearFusion(0.5, 0.5)


def test_build_passes_an_options_own_keys() -> None:
    own = {"_target_": "fused_clip.method.fusion.LinearFusion", "image_weight": 2.0, "text_weight": 3.0}
    assert build(fusion_options(**own).with_allowed(["fused_clip.method.fusion"])) == LinearFusion(2, 3)


def test_build_makes_what_own_keys_hold() -> None:
    made = build(check(composed("clusterer=keep_classes", "clusterer.base.n_init=3")).clusterer)
    assert isinstance(made.base, KMeans)
    assert made.base.n_init == 3


def test_build_leaves_a_partial_to_be_called() -> None:
    made = build(fusion_options(_target_="fused_clip.method.fusion.weighted", _partial_=True))
    assert isinstance(made, functools.partial)
    assert made() == LinearFusion(0.25, 0.75)


def test_build_says_that_an_allowed_part_is_not_there() -> None:
    for name in ("fused_clip.method.fusion.maximum", "no_such_package.fuse"):
        options = fusion_options(_target_=name).with_allowed([name.rpartition(".")[0]])
        with pytest.raises(InputError, match=r"fusion\._target_: must name something importable"):
            build(options)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (
            {"_target_": "fused_clip.method.fusion.weighted", "beta": 1},
            r"fusion\.beta: is not an option .*alpha",
        ),
        (
            {"_target_": "fused_clip.method.fusion.maximum"},
            r"fusion\._target_: must be a part of the group fusion, .*fusion\.weighted",
        ),
    ],
)
def test_build_refuses_what_the_target_does_not_know(own: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(fusion_options(**own))


def test_the_default_options_are_right() -> None:
    options = check(composed())
    assert isinstance(options, Options)
    assert options.clusters_per_target == 2


def declared(model: Any, prefix: str = "") -> dict[str, Any]:
    """Every option with its declaration; groups are gone through."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            found |= declared(field.annotation, f"{prefix}{name}.")
        elif name not in ("target", "partial"):
            found[prefix + name] = field
    return found


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in node.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def test_an_option_is_declared_once() -> None:
    own = yaml.safe_load((conf_dir() / "config.yaml").read_text())
    twice = set(flat({key: node for key, node in own.items() if key not in ("defaults", "hydra")}))
    with_default = {name: field for name, field in declared(Options).items() if not field.is_required()}
    assert not twice & set(with_default)
    assert [name for name, field in with_default.items() if not field.description] == []


def test_defaults_reach_the_config_and_choices_override_them() -> None:
    given = flat(defaults())
    assert given["dataset.name"] == given["dataset._target_"] == "???"
    assert given["dataset.captions.task"] == "This is a {}"
    assert not any(name.endswith("_partial_") for name in given)
    cfg = composed("dataset=imagefolder")
    assert cfg.dataset.captions.task == "This is {a} {}"
    assert (cfg.dataset.n_train, cfg.dataset.max_pixels, cfg.backbone.batch_size) == (None, 200_000_000, 64)
    assert composed("dataset.n_train=7", "dataset.max_pixels=9").dataset.max_pixels == 9
