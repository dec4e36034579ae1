"""How many cells each study plans, and that its documents say so."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from fused_clip.runner.jobs import planned_jobs
from fused_clip.support.conf import axes_of, conf_dir

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


@pytest.fixture
def hydra_running() -> Iterator[None]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


def composed(experiment: str) -> DictConfig:
    cfg = compose("config", overrides=[f"experiment={experiment}"], return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.overrides.task = []
    return cfg


@pytest.mark.usefixtures("hydra_running")
@pytest.mark.parametrize(
    ("experiment", "study", "words"),
    [
        ("paper_table1", "paper_table1", "{} cells: 7 datasets, 6 strategies, 5 seeds"),
        ("paper_claims", "paper_table1", "{} further cells that the claims ask for"),
        ("text_contribution", "text_contribution", "experiment=text_contribution        # {} cells"),
        ("prompt_spacing", "prompt_spacing", "experiment=prompt_spacing     # {} cells"),
    ],
)
def test_a_study_plans_as_many_cells_as_its_document_says(experiment: str, study: str, words: str) -> None:
    cfg = composed(experiment)
    assert cfg.references.draws == 5 or not cfg.references.enabled
    assert words.format(len(planned_jobs(cfg))) in (EXPERIMENTS / study / "README.md").read_text()


@pytest.mark.usefixtures("hydra_running")
def test_what_the_claims_ask_for_is_no_cell_of_the_table() -> None:
    table, further = (
        [axes_of(job) for job in planned_jobs(composed(name))] for name in ("paper_table1", "paper_claims")
    )
    assert len(table) == 210
    base = {"pairing": "oracle", "clusters_per_target": "2"}
    cells = [frozenset({**base, **axes}.items()) for axes in [*table, *further]]
    assert len(set(cells)) == len(cells)
