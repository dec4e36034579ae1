"""Configs of cells that share compositions are those that Hydra composes."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from fused_clip.runner.compositions import SharedCompositions, share_compositions
from fused_clip.support.conf import conf_dir

SWEEP = ["++hydra.callbacks.sweep.parent='a1'", "++hydra.callbacks.sweep.cells=8"]
JOBS = (
    [],
    ["dataset=mnist", "prompt=task"],
    ["dataset=cifar10", "prompt=grouped", "seed=3", "dataset.n_train=2000"],
    ["seed=3", "seed=4"],
    ["prompt=none", "prompt=task"],
    ["fusion.alpha=.25", "vote=prompt", "resume=null", "study='a b=c'"],
    ["study=${dataset.n_test}", "data_dir=${oc.env:HOME}/x"],
    ["data_dir='a=b'", "figures.enabled=false"],
    ["++dataset.own=1", "++own.deep.key=[1,2]"],
    ["+dataset.own=1"],
    ["+own=2", "seed=1"],
    ["~dataset.outside_root"],
    ["dataset={n_train:5}"],
    ["clusterer.n_neighbors=5", "clusterer=spectral"],
    ["experiment=smoke", "seed=1"],
    ["experiment=text_contribution", "prompt=none"],
    ["reference=[zero_shot,linear_probe]"],
    ["prompt.templates=['a {}','b {}']", "allow=[]"],
    ["hydra.job.name=other", "seed=1"],
    ["hydra/job_logging=disabled", "seed=2"],
    ["hydra.job.config.override_dirname.item_sep=+", "hydra.job.config.override_dirname.exclude_keys=[seed]",
     "seed=2", "vote=prompt", "prompt=task"],
    ["hydra.job.config.override_dirname.kv_sep='--'", "seed=2", "vote=prompt"],
    ["hydra.job.env_copy=[HOME]", "seed=2"],
    ["+hydra.job.env_set.X=1", "hydra.sweep.subdir=x", "seed=2"],
    ["+clusterer@other=kmeans", "seed=1"],
    ["tracking=none", "output_dir=x/y", "seed=10"],
)  # fmt: skip
WRONG = (
    ["nonsense=1"],
    ["dataset.deep.nonsense=1", "seed=1"],
    ["dataset=nonsense"],
    ["seed=1,2"],
    ["=1"],
    ["data_dir=a=b"],
    ["~nonsense"],
    ["~dataset.nonsense"],
    ["nonsense@prompt=task"],
    ["+seed=1"],
    ["hydra.nonsense=1"],
)


@pytest.fixture
def loader() -> Iterator[ConfigLoader]:
    with initialize_config_dir(str(conf_dir()), job_name="fused_clip", version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def master(*hydra: str) -> DictConfig:
    config = compose("config", overrides=["hydra.mode=MULTIRUN", *hydra], return_hydra_config=True)
    assert config.hydra.sweep.dir  # its time is kept
    return config


def described(config: DictConfig) -> tuple[object, ...]:
    """All that a config is: values as written and as resolved, in order, and flags."""
    with open_dict(config):
        config.hydra.job.num, config.hydra.job.id = 0, "0"
        config.hydra.runtime.output_dir = "x"
    flags = [OmegaConf.is_struct(config), OmegaConf.is_readonly(config), OmegaConf.is_readonly(config.hydra)]
    resolved = OmegaConf.select(config, "hydra.sweep.dir")
    return OmegaConf.to_yaml(config), flags, resolved, str(OmegaConf.get_cache(config))


def complaint(loader: ConfigLoader, config: DictConfig, job: list[str]) -> tuple[type, str]:
    with pytest.raises((HydraException, ValueError)) as caught:
        loader.load_sweep_config(config, job)
    return caught.type, str(caught.value)


@pytest.mark.parametrize("own", [[], SWEEP], ids=["before", "in the sweep"])
def test_configs_are_hydras(loader: ConfigLoader, own: list[str]) -> None:
    config, shared = master(*own), SharedCompositions(loader)
    for _ in range(2):  # what a job was given must not change what the next gets
        for job in JOBS:
            hydras, ours = loader.load_sweep_config(config, job), shared.load_sweep_config(config, job)
            assert ours == hydras, job
            assert described(ours) == described(hydras), job


def test_errors_are_hydras(loader: ConfigLoader) -> None:
    config, shared = master(), SharedCompositions(loader)
    for job in WRONG:
        assert complaint(shared, config, job) == complaint(loader, config, job)


def test_cells_that_differ_in_values_are_composed_once(
    loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = []
    load = type(loader).load_configuration

    def noted(*args: object, **kwargs: object) -> DictConfig:
        composed.append(args)
        return load(*args, **kwargs)  # type: ignore[arg-type]

    config, shared = master(), SharedCompositions(loader)
    monkeypatch.setattr(type(loader), "load_configuration", noted)
    for prompt in ("task", "none"):
        for seed in range(5):
            made = shared.load_sweep_config(config, [f"prompt={prompt}", f"seed={seed}"])
            assert (made.seed, made.hydra.runtime.choices.prompt) == (seed, prompt)
    assert len(composed) == 2


def test_another_working_directory_is_noted(
    loader: ConfigLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, shared = master(), SharedCompositions(loader)
    before = os.getcwd()
    assert shared.load_sweep_config(config, ["seed=1"]).hydra.runtime.cwd == before
    monkeypatch.chdir(tmp_path)
    assert shared.load_sweep_config(config, ["seed=1"]).hydra.runtime.cwd == str(tmp_path)


def test_the_loader_of_a_sweep_travels_without_what_it_composed(loader: ConfigLoader) -> None:
    config = master()
    share_compositions()
    shared = GlobalHydra.instance().config_loader()
    share_compositions()
    assert GlobalHydra.instance().config_loader() is shared
    job = ["seed=1"]
    before = len(pickle.dumps(shared))
    made = shared.load_sweep_config(config, job)
    sent = pickle.dumps(shared)
    assert len(sent) == before
    assert pickle.loads(sent).load_sweep_config(config, job) == made
