from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from fused_clip.runner.jobs import planned_jobs
from fused_clip.support.conf import axes_of, conf_dir
from fused_clip.support.errors import InputError


@pytest.fixture
def hydra_running() -> Iterator[None]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


def sweep_config(task: list[str], *, experiment: str = "default") -> DictConfig:
    cfg = compose("config", overrides=[f"experiment={experiment}"], return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.overrides.task = task
    return cfg


def planned(config: DictConfig) -> list[dict[str, str]]:
    return [axes_of(job) for job in planned_jobs(config)]


@pytest.mark.usefixtures("hydra_running")
def test_a_plan_is_every_job_in_order() -> None:
    cells = planned(sweep_config(["prompt=task,none", "+a.b=1", "seed=range(2)"]))
    assert cells == [
        {"prompt": prompt, "a.b": "1", "seed": seed} for prompt in ("task", "none") for seed in ("0", "1")
    ]


@pytest.mark.usefixtures("hydra_running")
def test_a_plan_holds_what_an_experiment_sweeps() -> None:
    cells = planned(sweep_config(["dataset=digits"], experiment="smoke"))
    prompts = ("task", "grouped", "swapped", "none", "generic", "hierarchical")
    assert cells == [{"dataset": "digits", "prompt": prompt} for prompt in prompts]


@pytest.mark.usefixtures("hydra_running")
def test_a_plan_holds_every_grid_of_an_experiment() -> None:
    cells = planned(sweep_config(["seed=1"], experiment="text_contribution"))
    assert {"dataset": "mnist", "fusion.alpha": "0.1", "seed": "1"} in cells
    assert len({frozenset(axes.items()) for axes in cells}) == len(cells)


@pytest.mark.usefixtures("hydra_running")
def test_a_sweeper_that_decides_as_it_goes_has_no_plan() -> None:
    config = sweep_config(["seed=1,2"])
    config.hydra.sweeper._target_ = "builtins.dict"
    assert planned(config) == []


@pytest.mark.usefixtures("hydra_running")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=range(0)"], r"^seed: must have a value to sweep over, got 'range\(0\)'"),
        (["seed=range(5,1)", "prompt=task,none"], r"^seed: must have a value to sweep over"),
        (
            ["seed=range(1,1000000000)"],
            r"^seed: must leave at most 100,000 cells, and makes 999,999,999",
        ),
        (["prompt=task,none", "seed=range(60000)"], r"^seed: .* makes 120,000, got 'range\(60000\)'"),
        (["fusion.alpha=range(0,1,0.000001)"], r"^fusion\.alpha: .* makes 1,000,000"),
    ],
)
def test_a_sweep_has_cells_and_not_too_many(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(sweep_config(words))


def test_axes_are_the_keys_that_overrides_set() -> None:
    overrides = ["dataset=a", "+x.y=b=c", "++z=1", "~gone"]
    assert axes_of(overrides) == {"dataset": "a", "x.y": "b=c", "z": "1", "gone": ""}
