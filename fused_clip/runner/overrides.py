"""Overrides: those that Hydra can't read, and the jobs of a sweep, known before the first of them starts."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fused_clip.support.errors import InputError
from fused_clip.support.user_files import load_yaml, read_user_file

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_FOREIGN = re.compile(r"[^\s,:{}\[\]]*[^\x00-\x7f][^,:{}\[\]]*")  # a value with other letters
_QUOTED = r"'\g<0>'"
_MOST_CELLS = 100_000  # of a sweep: each takes seconds, and a line of memory before the first starts
_FOLDERS = ("--config-dir", "-cd")


def check_words(words: Sequence[str]) -> None:
    """Refuse overrides that Hydra can't read, and YAML of the user's that these choose.

    Letters of other languages have to be quoted.

    Parameters
    ----------
    words : of the command line.

    Raises
    ------
    InputError
        On an override that is none, or that chooses a file below ``--config-dir`` that is no YAML of options.
    """
    for word in words:
        if word.startswith("="):
            raise InputError("overrides", "must be key=value, and this has no key", word)
        if "=" not in word or word.startswith("--") or not (reason := _unread(word)):
            continue
        key, _, value = word.partition("=")
        if word.isascii():
            raise InputError(key.lstrip("+~"), f"must be what Hydra's grammar reads ({reason})", value)
        rule = "on the command line, keys and unquoted values must be of ASCII letters"
        quoted = f"{key}={_FOREIGN.sub(_QUOTED, value)}"
        if not _unread(quoted):
            hint = f'Quote it twice: "{quoted}"'
        else:
            hint = (
                "Write it into a file of your own, such as mine/experiment/names.yaml with the first line"
                " '# @package _global_', and add --config-dir mine experiment=names"
            )
        raise InputError(key, rule, value, hint=hint)
    _check_own_files(words)


def _check_own_files(words: Sequence[str]) -> None:
    """Refuse files below ``--config-dir`` that Hydra would fail on, or never end to read."""
    folders = [Path(folder) for word, folder in pairwise(words) if word in _FOLDERS]
    folders += [Path(word.partition("=")[2]) for word in words if word.startswith("--config-dir=")]
    for group, _, names in (word.lstrip("+").partition("=") for word in words):
        for name in names.strip("[]").split(","):
            for file in (folder / group / f"{name}.yaml" for folder in folders):
                if not file.is_file():
                    continue
                try:
                    content = load_yaml(read_user_file(file))
                except (OSError, ValueError) as error:
                    raise InputError(group, f"{file} must be YAML ({error})", name) from error
                if not isinstance(content, dict | None):
                    raise InputError(group, f"{file} must map options to values", name)


def _unread(word: str) -> str:
    """Say why Hydra does not read a word; empty if it does."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(word)
    except HydraException as error:
        return str(error).strip().splitlines()[0]
    return ""


def complaint_of(error: Exception) -> InputError:
    """Say in a line what Hydra found wrong with overrides.

    Parameters
    ----------
    error : of Hydra's.
    """
    first, *others = str(error).strip().splitlines()
    choices = [line.strip() for line in others if line.startswith("\t") and "provider=" not in line]
    return InputError("overrides", first, choices=choices or None)


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

    overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    swept = [override.key_or_group for override in overrides if override.is_sweep_override()]
    return swept + list(config.hydra.sweeper.get("params") or {})


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
    words = [*(f"{key}={value}" for key, value in sweeper.params.items()), *config.hydra.overrides.task]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(words)
    _check_number(overrides)
    return [job for batch in sweeper.split_arguments(overrides, None) for job in batch]
