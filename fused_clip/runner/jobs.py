"""The jobs of a sweep, known before the first of them starts."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_MOST_CELLS = 100_000  # each takes seconds, and a line of memory before the first starts


def varying_axes(cells: Sequence[Mapping[str, str]]) -> list[str]:
    """List the keys in which cells differ, in order of first appearance.

    Parameters
    ----------
    cells : axes of each.
    """
    keys = dict.fromkeys(key for axes in cells for key in axes)
    return [key for key in keys if len({axes.get(key) for axes in cells}) > 1]


def swept_keys(config: DictConfig) -> list[str]:
    """List the keys to which a sweep gives several values, whichever sweeper it uses.

    Parameters
    ----------
    config : as for `planned_jobs`.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = OverridesParser.create().parse_overrides(_words(config))
    swept = [override.key_or_group for override in overrides if override.is_sweep_override()]
    return swept + list(config.hydra.sweeper.get("params") or {})


def _words(config: DictConfig) -> list[str]:
    """Overrides of the command line as they are; interpolations such as ``${seed}`` are for each cell."""
    words: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    return [str(word) for word in words]


def _check_number(overrides: Sequence["Override"]) -> None:
    """Refuse a sweep without cells, or with so many that they can't be listed."""
    swept = [override for override in overrides if override.is_sweep_override()]
    numbers = [_number(override.value()) for override in swept]
    shown = [str(override.input_line).partition("=")[2] for override in swept]
    for override, number, value in zip(swept, numbers, shown, strict=True):
        if not number:
            raise InputError(override.key_or_group, "must have a value to sweep over", value)
    if (cells := math.prod(numbers)) > _MOST_CELLS:
        longest = numbers.index(max(numbers))
        rule = f"must leave at most {_MOST_CELLS:,} cells, and makes {cells:,}"
        raise InputError(swept[longest].key_or_group, rule, shown[longest])


def _number(sweep: Any) -> int:
    """Values of an override; 1 for those that a sweeper finds itself."""
    if isinstance(getattr(sweep, "list", None), list):
        return len(sweep.list)
    start, stop, step = (getattr(sweep, name, None) for name in ("start", "stop", "step"))
    if start is None or stop is None or step is None:
        return 1
    return max(0, math.ceil((stop - start) / step)) if step else 0


def planned_jobs(config: DictConfig) -> list[list[str]]:
    """List the overrides of every job in job order; none for a sweeper that decides as it goes.

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
    words = [*(f"{key}={value}" for key, value in sweeper.params.items()), *_words(config)]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(words)
    _check_number(overrides)
    return [job for batch in sweeper.split_arguments(overrides, None) for job in batch]
