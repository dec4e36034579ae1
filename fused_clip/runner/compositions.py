"""Compose the configs of a sweep's cells: cells with the same options of groups share one composition.

Hydra composes a config in a tenth of a second, three times a cell: for the forecast, to check the batch and
to launch it. Overrides of values do not change which files are read: they are set afterwards, as Hydra does.
"""

import copy
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

_KEPT = 64  # compositions, of about a megabyte each
_OF_THE_SWEEP = "hydra.callbacks.sweep."  # values that `fused_clip.runner.sweep` gives to all cells


def share_compositions() -> None:
    """Let the running Hydra share compositions among the cells of a sweep, whichever sweeper and launcher."""
    hydra: Any = GlobalHydra.instance().hydra
    if not isinstance(hydra.config_loader, SharedCompositions):
        hydra.config_loader = SharedCompositions(hydra.config_loader)


class SharedCompositions(ConfigLoader):
    """A config loader that gives each job of a sweep the config that Hydra would compose for it.

    Files are read once for all jobs with the same options of groups: a YAML that changes during a sweep
    changes none of them.

    Parameters
    ----------
    loader : composes.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._groups = frozenset(loader.list_groups(""))
        self._composed: OrderedDict[tuple[str, ...], DictConfig] = OrderedDict()

    def __reduce__(self) -> tuple[type["SharedCompositions"], tuple[ConfigLoader]]:
        """Leave compositions with their process: launchers send the loader with each job."""
        return type(self), (self._loader,)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Give the config of a job.

        Parameters
        ----------
        master_config : of the sweep.
        sweep_overrides : of the job.

        Raises
        ------
        HydraException
            If an override can't be read, or does not fit the config.
        """
        words = [*OmegaConf.to_container(master_config.hydra.overrides.hydra), *sweep_overrides]  # type: ignore[misc]
        parsed = OverridesParser.create().parse_overrides(words)
        values = [override for override in parsed if self._is_value(override)]
        others = [override for override in parsed if not self._is_value(override)]
        if all(map(self._is_choice, others)):
            base = self._base(str(master_config.hydra.job.config_name), others)
            if not base.hydra.job.env_copy and _set_values(base, values, parsed):
                OmegaConf.copy_cache(from_config=master_config, to_config=base)
                return base
        return self._loader.load_sweep_config(master_config, sweep_overrides)

    def _is_value(self, override: Override) -> bool:
        """Whether an override sets a value where one is, or as ``++`` does."""
        key = str(override.key_or_group)
        plain = override.package is None and "/" not in key and key not in self._groups
        own = key.startswith(_OF_THE_SWEEP) or key.partition(".")[0] != "hydra"
        sets = not (override.is_delete() or override.is_add() or override.is_sweep_override())
        return plain and own and sets

    def _is_choice(self, override: Override) -> bool:
        """Whether an override chooses an option of a group, or is of Hydra's own node."""
        key = str(override.key_or_group)
        group = "/" in key or key in self._groups
        return key.partition(".")[0] == "hydra" or (group and not isinstance(override.value(), dict))

    def _base(self, name: str, choices: Sequence[Override]) -> DictConfig:
        """The config with the options of groups alone."""
        words = [choice.input_line or "" for choice in choices]
        key = (os.getcwd(), name, *words)
        if key not in self._composed:
            self._composed[key] = self._loader.load_configuration(name, words, RunMode.RUN)
            while len(self._composed) > _KEPT:
                self._composed.popitem(last=False)
        self._composed.move_to_end(key)
        # A pickle would be faster, but refuses the classes of Hydra's plugins, whose modules run twice.
        return copy.deepcopy(self._composed[key])

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose a config, as Hydra does.

        Parameters
        ----------
        config_name : of the main config.
        overrides : words of the command line.
        run_mode : a run or a sweep.
        from_shell : whether words are quoted for a shell, in errors.
        validate_sweep_overrides : whether several values for a key are an error in a run.
        """
        return self._loader.load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )

    def get_search_path(self) -> ConfigSearchPath:
        """Give the places of configs, as Hydra does."""
        return self._loader.get_search_path()

    def get_sources(self) -> list[ConfigSource]:
        """Give the sources of configs, as Hydra does."""
        return self._loader.get_sources()

    def list_groups(self, parent_name: str) -> list[str]:
        """List groups, as Hydra does.

        Parameters
        ----------
        parent_name : group that they are in; empty for the highest.
        """
        return self._loader.list_groups(parent_name)

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """List the options of a group, as Hydra does.

        Parameters
        ----------
        group_name : with all groups that it is in.
        results_filter : options, groups or both.
        config_name, overrides : of a composition, which may name further places of configs.
        """
        return self._loader.get_group_options(group_name, results_filter, config_name, overrides)

    def compute_defaults_list(self, config_name: str | None, overrides: list[str], run_mode: RunMode) -> Any:
        """List what a config is composed of, as Hydra does.

        Parameters
        ----------
        config_name, overrides, run_mode : as of `load_configuration`.
        """
        return self._loader.compute_defaults_list(config_name, overrides, run_mode)


def _set_values(config: DictConfig, values: Sequence[Override], words: Sequence[Override]) -> bool:
    """Set values in a config, and note all words; False where Hydra has an error to tell."""
    try:
        for one in values:
            OmegaConf.update(config, one.key_or_group, one.value(), merge=True, force_add=one.is_force_add())
    except OmegaConfBaseException:
        return False
    task = [word for word in words if not word.is_hydra_override()]
    config.hydra.overrides.task = [str(word.input_line) for word in task]
    config.hydra.overrides.hydra = [str(word.input_line) for word in words if word.is_hydra_override()]
    style = config.hydra.job.config.override_dirname
    named = sorted(str(word.input_line) for word in task if word.key_or_group not in style.exclude_keys)
    config.hydra.job.override_dirname = str(style.item_sep).join(named).replace("=", str(style.kv_sep))
    return True
