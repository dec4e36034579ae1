"""Overrides: those that Hydra can't read, and the jobs of a sweep, known before the first of them starts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_FOREIGN = re.compile(r"[^\s,:{}\[\]]*[^\x00-\x7f][^,:{}\[\]]*")  # a value with other letters
_IN_A_FILE = (
    "Write it into a file of your own, such as mine/experiment/names.yaml with the first line"
    " '# @package _global_', and add --config-dir mine experiment=names"
)
_LONGEST_WORD = 32_000  # which the parser of Hydra reads in half a second
_LONGEST_NAME = 200  # file systems allow 255 bytes, with a suffix
_QUOTED = r"'\g<0>'"


def with_allowed(words: Sequence[str]) -> list[str]:
    """Write ``--allow my_parts`` as the override that Hydra reads, next to the last of the others.

    Parameters
    ----------
    words : of the command line.

    Raises
    ------
    InputError
        If no name follows.
    """
    others: list[str] = []
    names: list[str] = []
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option == "--allow":
            names += (value if equals else next(rest, "")).split(",")
        else:
            others.append(word)
    if not all(names):
        raise InputError("--allow", "must be followed by names of modules, such as my_parts", ",".join(names))
    if not names:
        return others
    given = [index for index, word in enumerate(others) if "=" in word and not word.startswith("-")]
    place = given[-1] + 1 if given else len(others)
    return [*others[:place], f"allow=[{','.join(names)}]", *others[place:]]


def check_words(words: Iterable[str]) -> None:
    """Refuse overrides that fail in Hydra without a message of its own.

    These are keys and unquoted values with letters that its grammar does not read, options of a group that
    are no names, such as ``dataset=1``, and what is too long.

    Parameters
    ----------
    words : of the command line.
    """
    for word in words:
        key, equals, value = word.partition("=")
        if equals and not word.startswith("-"):
            _check_length(key, value)
            override = _parsed(word)
            if override is None and not word.isascii():
                raise _foreign(key, value)
            if override is not None and _is_group(override.key_or_group):
                _check_choice(override, key, value)


def _foreign(key: str, value: str) -> InputError:
    rule = "on the command line, keys and unquoted values must be of ASCII letters"
    quoted = f"{key}={_FOREIGN.sub(_QUOTED, value)}"
    hint = _IN_A_FILE if _parsed(quoted) is None else f'Quote it twice: "{quoted}"'
    return InputError(key, rule, value, hint=hint)


def _check_length(key: str, value: str) -> None:
    """Refuse what takes Hydra's parser more than half a second, or is too long for the name of a file."""
    if len(value) > _LONGEST_WORD:
        rule = f"must have at most {_LONGEST_WORD:,} characters on the command line, and has {len(value):,}"
        raise InputError(key[:_LONGEST_NAME], rule, value, hint=_IN_A_FILE)
    if len(key) > _LONGEST_NAME:
        raise InputError("overrides", f"a key must have at most {_LONGEST_NAME} characters", key)
    group = key.lstrip("+~").partition("@")[0]
    if len(value) > _LONGEST_NAME and _is_group(group):
        raise InputError(group, f"must name an option, in at most {_LONGEST_NAME} characters", value)


def _is_group(key: str) -> bool:
    return key.startswith("hydra/") or ("." not in key and (conf_dir() / key).is_dir())


def _check_choice(override: "Override", key: str, value: str) -> None:
    """Refuse numbers, booleans and null as names of options."""
    from hydra.core.override_parser.types import ChoiceSweep, OverrideType, RangeSweep

    found = override.value()
    if isinstance(found, dict) or (found is None and override.type == OverrideType.DEL):
        return
    names = found.list if isinstance(found, ChoiceSweep) else [found]
    flat = [one for name in names for one in (name if isinstance(name, list) else [name])]
    for name in flat:
        if name is None or isinstance(name, (bool, int, float, list, dict, RangeSweep)):
            known = sorted(path.stem for path in (conf_dir() / override.key_or_group).glob("*.yaml"))
            raise InputError(key, "must name an option", value, choices=known or None)


def _parsed(word: str) -> "Override | None":
    """An override as Hydra's parser reads it; None if its grammar does not allow it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None
    except (ValueError, RecursionError) as error:  # a number of more than 4,300 digits
        key, _, value = word.partition("=")
        raise InputError(key, f"can't be read ({error})", value) from error


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
    return [job for batch in sweeper.split_arguments(overrides, None) for job in batch]
