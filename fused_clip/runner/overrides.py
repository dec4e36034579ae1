"""Overrides of the command line: those that Hydra can't read, or reads without a message of its own."""

import re
from argparse import ArgumentError, ArgumentParser
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fused_clip.runner.search_path import add_folders
from fused_clip.runner.targets import allowed, check_hydra
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_TEXT, read_regular
from fused_clip.support.plugins import options_in, plugins
from fused_clip.support.yaml_files import load_yaml

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_FOREIGN = re.compile(r"[^\s,:{}\[\]]*[^\x00-\x7f][^,:{}\[\]]*")  # a value with other letters
_IN_A_FILE = (
    "Write it into a file of your own, such as mine/experiment/names.yaml with the first line"
    " '# @package _global_', and add --config-dir mine experiment=names"
)
_WORDS = re.compile(r"[^\s,'\"()\[\]]+")
_LONGEST_WORD = 32_000  # which the parser of Hydra reads in half a second
_LONGEST_NAME = 200  # file systems allow 255 bytes, with a suffix
_FOLDERS = ("--config-dir", "-cd")
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


def check_hydras_parts(words: Sequence[str]) -> None:
    """Compose the config, where more than this package's own decides it, and check what Hydra will make.

    Hydra makes its callbacks and loggers before it calls anything of ours.

    Parameters
    ----------
    words : of the command line.

    Raises
    ------
    InputError
        As `fused_clip.runner.targets.check_hydra`, or if Hydra can't compose the config.
    """
    parser = ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--config-path", "-cp")
    parser.add_argument("--config-name", "-cn", default="config")
    parser.add_argument("--experimental-rerun")
    parser.add_argument("--cfg", "-c")
    parser.add_argument("--shell-completion", "-sc", action="store_true")
    try:
        flags, others = parser.parse_known_args(words)
    except ArgumentError:  # Hydra says so too
        return
    if flags.experimental_rerun:
        rule = "is left out: it loads a pickle, which can run any code"
        raise InputError("--experimental-rerun", rule, flags.experimental_rerun)
    overrides = [word for word in others if word.startswith("~") or ("=" in word and word[0] != "-")]
    own = any("hydra" in word or _names_plugins(word) for word in overrides)
    theirs = flags.config_dir or flags.config_path or own
    if theirs and not flags.shell_completion:
        folders = [Path(one).absolute() for one in (flags.config_dir, flags.config_path or conf_dir()) if one]
        _check_composed(folders, f"{flags.config_name.removesuffix('.yaml')}.yaml", overrides)


def _names_plugins(word: str) -> bool:
    """Whether an override chooses an option of a plugin."""
    key, _, value = word.lstrip("+").partition("=")
    group = key.partition("@")[0]
    return any(f"{group}/{name}" in plugin.options for plugin in plugins() for name in _WORDS.findall(value))


def _check_composed(folders: Sequence[Path], name: str, overrides: Sequence[str]) -> None:
    """Compose from folders, the first of which goes before the others, as ``--config-dir`` does."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from hydra.types import RunMode

    there = [folder / name for folder in folders if (folder / name).is_file()]
    if not there:  # Hydra says so too
        return
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        more = OmegaConf.select(OmegaConf.load(there[0]), "hydra.searchpath") or []
        for one in parsed:
            more = one.value() if one.key_or_group == "hydra.searchpath" else more
        rest = [one.input_line or "" for one in parsed if one.key_or_group != "hydra.searchpath"]
        places = f"hydra.searchpath={[str(one) for one in more]}"
        with TemporaryDirectory() as first:  # Hydra's own API puts further folders after the first
            main = Path(first, name)
            main.parent.mkdir(parents=True, exist_ok=True)
            main.write_bytes(there[0].read_bytes())
            with initialize_config_dir(first, job_name="fused_clip", version_base="1.3"):
                add_folders(folders)
                config = GlobalHydra.instance().config_loader().load_configuration(
                    name, [places, *rest], RunMode.MULTIRUN, validate_sweep_overrides=False
                )  # fmt: skip
                check_hydra(config.hydra, allowed(config))
    except HydraException as error:
        raise complaint_of(error) from error
    except OmegaConfBaseException as error:
        raise InputError(str(error.full_key or "config"), str(error).splitlines()[0]) from error


def check_words(words: Sequence[str]) -> None:
    """Refuse overrides that fail in Hydra without a message of its own.

    These are keys and unquoted values with letters that its grammar does not read, options of a group that
    are no names, such as ``dataset=1``, and words that are too long.

    Parameters
    ----------
    words : of the command line.
    """
    for word in words:
        if word.startswith("="):
            raise InputError("overrides", "must be key=value, and this has no key", word)
        key, equals, value = word.partition("=")
        if equals and not word.startswith("-"):
            _check_length(key, value)
            override = _parsed(word)
            if override is None:
                raise _unread(key, value)
            if override is not None and _is_group(override.key_or_group):
                _check_choice(override, key, value)
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
                    content = load_yaml(read_regular(file, MOST_TEXT))
                except (OSError, ValueError) as error:
                    raise InputError(group, f"{file} must be YAML ({error})", name) from error
                if not isinstance(content, dict | None):
                    raise InputError(group, f"{file} must map options to values", name)


def _unread(key: str, value: str) -> InputError:
    if f"{key}{value}".isascii():
        return InputError(key.lstrip("+~"), "must be what Hydra's grammar reads", value)
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
            known = sorted(options_in(override.key_or_group))
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
