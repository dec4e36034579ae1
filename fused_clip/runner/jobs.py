"""The cells that a sweep is going to run, known before the first of them starts."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from fused_clip.support.axes import axes_of


def varying_axes(cells: Sequence[Mapping[str, str]]) -> list[str]:
    """Keys in which cells differ, in order of first appearance.

    Parameters
    ----------
    cells : axes of each.
    """
    keys = dict.fromkeys(key for axes in cells for key in axes)
    return [key for key in keys if len({axes.get(key) for axes in cells}) > 1]


def swept_keys(config: DictConfig) -> list[str]:
    """Keys that a sweep gives several values, whichever sweeper turns them into jobs.

    Parameters
    ----------
    config : as for `planned_jobs`.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    swept = [override.key_or_group for override in overrides if override.is_sweep_override()]
    return swept + list(config.hydra.sweeper.get("params") or {})


def planned_cells(config: DictConfig) -> list[dict[str, str]]:
    """Axes of every job in job order; none for a sweeper that decides as it goes, as optimisers do.

    Parameters
    ----------
    config : as for `planned_jobs`.
    """
    return [axes_of(job) for job in planned_jobs(config)]


def planned_jobs(config: DictConfig) -> list[list[str]]:
    """Overrides of every job in job order; none for a sweeper that decides as it goes.

    Parameters
    ----------
    config : the config of a sweep with its ``hydra`` node; Hydra must be running.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext
    from hydra.utils import get_class

    # What Hydra's own sweeper and those like it have: jobs that overrides alone determine.
    if not hasattr(get_class(config.hydra.sweeper._target_), "split_arguments"):
        return []
    loader = GlobalHydra.instance().config_loader()
    context = HydraContext(loader, None)  # type: ignore[arg-type]  # nothing is run
    sweeper: Any = Plugins.instance().instantiate_sweeper(
        hydra_context=context, task_function=lambda _: None, config=config
    )
    words = [*(f"{key}={value}" for key, value in sweeper.params.items()), *config.hydra.overrides.task]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(words)
    return [job for batch in sweeper.split_arguments(overrides, None) for job in batch]
