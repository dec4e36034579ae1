"""What ``_target_`` may name: parts of its group, scikit-learn's estimators, modules that the user allows.

Parts of a group are what the YAMLs of this package name, and those of plugins, if their own packages define
it: who installs a package trusts it.

A config that came from elsewhere, such as a run's ``config.yaml``, must not call just anything. A name is
compared with these rules before anything is imported, and what it names once more afterwards, so that an
allowed module does not lead on to what it has imported itself. The user's own will is the command line and
the folders of ``--config-dir``: their modules run, and so may what the command line allows. A file can't
allow anything. Python's own library, and libraries whose functions read pickles, write files or run code,
can't be allowed either.

Interpolations are Hydra's: ``${oc.env:NAME}`` reads a variable of the environment, and none of them calls
code. Hydra makes its callbacks, launcher, sweeper and loggers itself: `check_hydra` looks at them before.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fused_clip.runner.search_path import is_plugins
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.support.foreign_modules import is_never
from fused_clip.support.named_parts import home_of, import_part, parts_of, targets_in
from fused_clip.support.plugins import Plugin

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_ESTIMATOR = re.compile(r"sklearn(\.[a-z]\w*)+\.[A-Z]\w*")
_HYDRAS_OWN = re.compile(
    r"fused_clip\.runner\.sweep\.SweepCallback|hydra_plugins(\.\w+)+\.[A-Z]\w*"
    r"|hydra\.(_internal\.core_plugins|experimental\.callbacks)(\.\w+)*\.[A-Z]\w*"
)
_STREAMS = re.compile(r"ext://sys\.std(out|err)")
_LOGGERS = re.compile(
    r"logging(\.handlers)?\.[A-Z]\w*|colorlog\.[A-Z]\w*|fused_clip\.runner\.log_file\.LogFile"
)
_CLUSTERER = "clusterer"  # the group whose parts are scikit-learn's own


def check_allowed(allow: Sequence[str], words: Iterable[str] | None = None) -> None:
    """Check the names of modules that a user allows.

    Parameters
    ----------
    allow : names of modules.
    words : overrides of the command line, which alone may allow a module; None where the caller's own code
        does.

    Raises
    ------
    InputError
        If one is no name of a module, or of a library that can't be allowed.
    """
    given = None if words is None else {word.lstrip("+").partition("=")[0] for word in words}
    if allow and given is not None and "allow" not in given:
        rule = "must be given on the command line, not in a file"
        raise InputError("allow", rule, list(allow), hint=_way(allow[0]))
    for name in allow:
        if not _NAME.fullmatch(name) or "__" in name:
            raise InputError("allow", "must be names of modules, such as my_parts", name)
        if is_never(name):
            rule = (
                "must be modules of your own or of a library of estimators, not of Python's own library nor"
                " of one whose functions read pickles, write files or run code"
            )
            raise InputError("allow", rule, name)


def check_targets(group: str, node: Any, allow: Sequence[str] = (), *, nested: bool = False) -> None:
    """Check every ``_target_`` of a group's options by its name; nothing is imported.

    Parameters
    ----------
    group : such as ``clusterer``.
    node : its options.
    allow : modules that the user allows.
    nested : whether `node` is below another part's options.

    Raises
    ------
    InputError
        If a name is not among those that may be called.
    """
    for place, target, inner in targets_in(group, node):
        _check_name(place, group, target, allow, nested=nested or inner)


def locate(group: str, target: str, allow: Sequence[str] = (), *, nested: bool = False) -> Any:
    """Import the object that a ``_target_`` names, if that may be called.

    Parameters
    ----------
    group : such as ``clusterer``; of ``report``, the part is the page of a study.
    target : dotted name.
    allow : modules that the user allows.
    nested : whether another part's options name it.

    Raises
    ------
    InputError
        If it is not among those that may be called, or not there.
    """
    option = f"{group}._target_"
    _check_name(option, group, target, allow, nested=nested)
    made = import_part(option, target)
    own = parts_of(group)
    if target in own and own[target] is None:
        return made
    if _ESTIMATOR.fullmatch(target):
        from sklearn.base import BaseEstimator

        if not (inspect.isclass(made) and issubclass(made, BaseEstimator)):
            raise InputError(option, "must name an estimator of scikit-learn", target)
    elif not (_is_allowed(home := home_of(made), allow) or _is_plugins(own.get(target), home)):
        rule = f"names something of the module {home}, which is not allowed"
        raise InputError(option, rule, target, hint=_way(home))
    elif not callable(made):
        raise InputError(option, "must name a function or a class", target)
    return made


def check_hydra(hydra: Any, allow: Sequence[str] = ()) -> None:
    """Check what Hydra is going to make for itself: callbacks, launcher, sweeper and loggers.

    Parameters
    ----------
    hydra : Hydra's node of a composed config.
    allow : modules that the user allows.

    Raises
    ------
    InputError
        If it names something else than Hydra's own, its plugins' or Python's own loggers.
    """
    from omegaconf import OmegaConf

    node = OmegaConf.to_container(hydra, resolve=False)
    for place, key, value in _leaves("hydra", node):
        logger = place.startswith(("hydra.job_logging.", "hydra.hydra_logging."))
        if key == "_target_":
            fits = _HYDRAS_OWN
        elif logger and key in ("()", "class", "factory"):
            fits = _LOGGERS
        elif logger and isinstance(value, str) and "ext://" in value:
            fits = _STREAMS
        else:
            continue
        if not isinstance(value, str) or not (fits.fullmatch(value) or _may_be_called(value, "", allow)):
            rule = (
                "must be a part of Hydra or of its plugins, a logger of Python, or of a module that you allow"
            )
            raise InputError(place, rule, value)


def make(group: str, node: Any, allow: Sequence[str] = ()) -> Any:
    """Make the parts that an option's own keys contain in turn, as Hydra's ``instantiate`` does.

    Other than there, a text with an interpolation in it stays a text: it can't turn into a part.

    Parameters
    ----------
    group : of the option.
    node : value of a key: a plain value, or lists and mappings of such.
    allow : modules that the user allows.
    """
    if isinstance(node, list):
        return [make(group, value, allow) for value in node]
    if not isinstance(node, Mapping):
        return node
    made = {key: make(group, value, allow) for key, value in node.items()}
    if "_target_" not in made:
        return made
    target = locate(group, made.pop("_target_"), allow, nested=True)
    made.pop("_convert_", None)  # all, always
    later, arguments = made.pop("_partial_", False), made.pop("_args_", [])
    return partial(target, *arguments, **made) if later else target(*arguments, **made)


def user_folders() -> list[Path]:
    """Config folders that ``--config-dir`` adds."""
    from hydra.core.hydra_config import HydraConfig

    return folders_of(HydraConfig.get()) if HydraConfig.initialized() else []


def folders_of(hydra: Any) -> list[Path]:
    """Config folders that ``--config-dir`` adds.

    Parameters
    ----------
    hydra : Hydra's node of a config.
    """
    sources = [source for source in hydra.runtime.config_sources if not is_plugins(source.provider)]
    folders = [Path(source.path).absolute() for source in sources if source.schema == "file"]
    return [folder for folder in folders if folder != conf_dir()]


def allowed(config: Any) -> list[str]:
    """Modules that a composed config allows, before its options are checked.

    Parameters
    ----------
    config : of a run or sweep.
    """
    from omegaconf import ListConfig

    return list(config.allow) if isinstance(config.allow, ListConfig) else []


def _leaves(place: str, node: Any) -> Iterator[tuple[str, str, Any]]:
    """Place, key and value of everything in a node."""
    inner = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield f"{place}.{key}", str(key), value
        yield from _leaves(f"{place}.{key}", value)


def _check_name(option: str, group: str, target: Any, allow: Sequence[str], *, nested: bool) -> None:
    own = parts_of(group)
    if isinstance(target, str) and (target in own or _may_be_called(target, group, allow, nested=nested)):
        return
    estimators = ", an estimator of scikit-learn" if nested or group == _CLUSTERER else ""
    rule = f"must be a part of the group {group}{estimators}, or of a module that you allow"
    hint = "" if not isinstance(target, str) or is_never(target) else _way(target.rpartition(".")[0])
    raise InputError(option, rule, target, choices=sorted(own), hint=hint)


def _may_be_called(target: str, group: str, allow: Sequence[str], *, nested: bool = False) -> bool:
    if not _NAME.fullmatch(target) or "__" in target:
        return False
    if _ESTIMATOR.fullmatch(target):
        return nested or group == _CLUSTERER
    return not is_never(target) and _is_allowed(target, allow)


def _is_allowed(name: str, allow: Sequence[str]) -> bool:
    """Whether a name is of an allowed module, or of one below the user's config folders."""
    if any(name == module or name.startswith(f"{module}.") for module in allow):
        return True
    top = name.partition(".")[0]
    return any((folder / f"{top}.py").is_file() or (folder / top).is_dir() for folder in user_folders())


def _is_plugins(plugin: Plugin | None, home: str) -> bool:
    return plugin is not None and plugin.owns(home)


def _way(module: str) -> str:
    return f"If you trust the module, add --allow {module}" if module else ""
