"""Several grids in one sweep: what each job is, and that the experiments ask for the cells they should."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from fused_clip.support.conf import conf_dir
from hydra_plugins.fused_clip_grids import GridsSweeper


def jobs(
    grids: Sequence[Mapping[str, str]] | None,
    params: Mapping[str, str] | None = None,
    command_line: Sequence[str] = (),
    max_batch_size: int | None = None,
) -> list[list[list[str]]]:
    sweeper = GridsSweeper(max_batch_size, params, grids)
    given = [*(f"{key}={value}" for key, value in (params or {}).items()), *command_line]
    return sweeper.split_arguments(OverridesParser.create().parse_overrides(given), max_batch_size)


def test_each_grid_is_crossed_with_what_holds_for_all() -> None:
    (batch,) = jobs([{"text": "rotated"}, {"fusion.alpha": "0,1"}], {"seed": "1,2"})
    assert [sorted(job) for job in batch] == [
        ["seed=1", "text=rotated"],
        ["seed=2", "text=rotated"],
        ["fusion.alpha=0", "seed=1"],
        ["fusion.alpha=1", "seed=1"],
        ["fusion.alpha=0", "seed=2"],
        ["fusion.alpha=1", "seed=2"],
    ]


def test_a_grid_may_set_what_the_others_share() -> None:
    (batch,) = jobs([{"prompt": "task,none"}, {"vote": "prompt"}], {"prompt": "grouped"})
    assert [sorted(job) for job in batch] == [
        ["prompt=task"],
        ["prompt=none"],
        ["prompt=grouped", "vote=prompt"],
    ]


def test_the_command_line_holds_in_every_grid_and_equal_jobs_run_once() -> None:
    (batch,) = jobs([{"dataset": "a,b"}, {"dataset": "a", "vote": "prompt"}], command_line=["dataset=digits"])
    assert sorted(sorted(job) for job in batch) == [["dataset=digits"], ["dataset=digits", "vote=prompt"]]


def test_without_grids_it_is_hydras_own() -> None:
    assert jobs(None, {"seed": "1,2"}, ["a=3"]) == [[["seed=1", "a=3"], ["seed=2", "a=3"]]]


def test_batches_are_no_longer_than_asked() -> None:
    assert [len(batch) for batch in jobs([{"a": "1,2"}, {"b": "1,2,3"}], max_batch_size=2)] == [2, 2, 1]


def experiment(name: str) -> list[dict[str, str]]:
    """The cells of an experiment: its jobs' overrides."""
    content = yaml.safe_load((conf_dir() / "experiment" / f"{name}.yaml").read_text())
    sweeper = content["hydra"]["sweeper"]
    (batch,) = jobs(sweeper.get("grids"), sweeper["params"])
    return [dict(override.split("=") for override in job) for job in batch]


def test_the_papers_table_has_210_cells() -> None:
    cells = experiment("paper_table1")
    assert len(cells) == 7 * 6 * 5
    assert set(Counter(cell["dataset"] for cell in cells).values()) == {30}


@pytest.mark.parametrize(("key", "levels"), [("text", 4), ("fusion.alpha", 10), ("clusters_per_target", 7)])
def test_the_audit_changes_one_factor_at_a_time(key: str, levels: int) -> None:
    alone = [cell for cell in experiment("text_contribution") if cell.keys() == {"dataset", "seed", key}]
    assert Counter(cell["dataset"] for cell in alone) == dict.fromkeys(
        ["mnist", "cifar10", "cifar100_1"], 5 * levels
    )
