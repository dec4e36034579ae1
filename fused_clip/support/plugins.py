"""Plugins: installed packages that add options, found by an entry point and read without being imported.

A plugin's options are the YAMLs below the folder ``conf/`` of its package. A plugin that can't be read adds
nothing, and a warning names it. An option that is there twice is an error: which one runs must not depend
on the order of installation.
"""

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.support.foreign_modules import is_never
from fused_clip.support.versions import PACKAGE, sources, version_line

log = logging.getLogger(__name__)
ENTRY_POINTS = "fused_clip.plugins"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
_PACKAGE = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Plugin:
    """An installed package that adds options.

    Parameters
    ----------
    name : of the entry point.
    package : that the entry point names.
    distribution : that was installed, as pip lists it.
    version : of the distribution.
    conf : folder of its config groups.
    """

    name: str
    package: str
    distribution: str
    version: str
    conf: Path

    def __str__(self) -> str:
        own = self.name.lower().replace("_", "-") == self.distribution.lower().replace("_", "-")
        return f"{self.name} {self.version}" if own else f"{self.name} ({self.distribution} {self.version})"

    def owns(self, dotted: str) -> bool:
        """Whether a module, or an object defined in it, is of the plugin's package.

        Parameters
        ----------
        dotted : name, such as ``my_plugin.parts.Part``.
        """
        return dotted.partition(".")[0] == self.package

    @cached_property
    def options(self) -> dict[str, Path]:
        """YAML of each option, by group and name: ``clusterer/birch``."""
        found = sorted(self.conf.glob("*/**/*.yaml"))
        return {path.relative_to(self.conf).with_suffix("").as_posix(): path for path in found}

    @cached_property
    def code_version(self) -> str:
        """SHA-256 (hex) of its version and of the source of its package."""
        root, named = self.conf.parent, f"{self.distribution}\0{self.version}".encode()
        return hashlib.sha256(named + sources(root, root)).hexdigest()


@cache
def plugins() -> tuple[Plugin, ...]:
    """Plugins that are installed, by name, each of whose options is there once.

    Raises
    ------
    InputError
        If two plugins, or a plugin and this package, have an option of one name.
    """
    found = installed()
    _refuse_clashes(found)
    return found


@cache
def installed() -> tuple[Plugin, ...]:
    """Plugins that are installed and can be read, by name; a warning names each other one.

    A process looks once: a package that is installed meanwhile is seen by the next.
    """
    found = []
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (entry.name, entry.value)):
        try:
            found.append(_read(entry))
        except InputError as error:
            log.warning("Warning: %s", error)
    return tuple(found)


def config_folders() -> list[Path]:
    """Folders of config groups: this package's, then those of plugins.

    Raises
    ------
    InputError
        As `plugins`.
    """
    return [conf_dir(), *(plugin.conf for plugin in plugins())]


def options_in(group: str) -> dict[str, Path]:
    """YAML of each option of a group, by name: this package's, then those of plugins.

    Parameters
    ----------
    group : such as ``clusterer``.

    Raises
    ------
    InputError
        As `plugins`.
    """
    files = [path for folder in config_folders() for path in sorted((folder / group).glob("*.yaml"))]
    return {path.stem: path for path in files}


def plugin_of(dotted: str) -> Plugin | None:
    """Find the plugin whose package something is of; None if there is none.

    Parameters
    ----------
    dotted : name of a module or of an object defined in it.
    """
    return next((plugin for plugin in installed() if plugin.owns(dotted)), None)


def code_behind(options: Iterable[str]) -> dict[str, str]:
    """Code version of each plugin that has some of these options, by its name.

    Parameters
    ----------
    options : each as group and name: ``clusterer/birch``.
    """
    named = set(options)
    return {one.name: one.code_version for one in plugins() if not named.isdisjoint(one.options)}


def plugin_versions() -> dict[str, str]:
    """Version of each plugin that is installed, by name."""
    return {plugin.name: plugin.version for plugin in installed()}


def full_version() -> str:
    """Name and version of this package and of its plugins, in one line."""
    found = ", ".join(map(str, installed()))
    return f"{version_line()}, with {found}" if found else version_line()


def _read(entry: EntryPoint) -> Plugin:
    """The plugin of an entry point; InputError if it is none."""
    distribution = getattr(entry.dist, "name", None) or "?"
    option = f"plugin {entry.name!r} of {distribution}"
    hint = f"Its options are left out: install it again, or pip uninstall {distribution}"
    if not _NAME.fullmatch(entry.name):
        raise InputError(option, "its name must be letters, digits, '.', '-' and '_'", hint=hint)
    if not _PACKAGE.fullmatch(entry.value) or is_never(entry.value) or entry.value == PACKAGE:
        rule = "its entry point must name a package of its own, such as my_plugin"
        raise InputError(option, rule, entry.value, hint=hint)
    try:
        spec = find_spec(entry.value)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None:
        raise InputError(option, "its package must be importable", entry.value, hint=hint)
    folders = [Path(place).absolute() / "conf" for place in spec.submodule_search_locations or ()]
    there = [folder for folder in folders if any(folder.glob("*/*.yaml"))]
    if not there:
        rule = "its package must have options, conf/<group>/<name>.yaml"
        raise InputError(option, rule, entry.value, hint=hint)
    return Plugin(
        entry.name, entry.value, distribution, getattr(entry.dist, "version", None) or "?", there[0]
    )


def _refuse_clashes(found: tuple[Plugin, ...]) -> None:
    owners: dict[str, str] = {}
    names: dict[str, str] = {}
    for plugin in found:
        if other := names.get(plugin.name):
            rule = f"is the name of two plugins, of {other} and of {plugin.distribution}"
            raise InputError(f"plugin {plugin.name!r}", rule, hint="Uninstall one of them")
        names[plugin.name] = plugin.distribution
        for option in plugin.options:
            own = conf_dir() / f"{option}.yaml"
            other = PACKAGE if own.is_file() else owners.get(option)
            if other:
                rule = f"is an option of {other} and of {plugin}, and must have one meaning"
                hint = f"Rename {plugin.options[option]}, or pip uninstall {plugin.distribution}"
                raise InputError(option.rpartition("/")[0], rule, option.rpartition("/")[2], hint=hint)
            owners[option] = str(plugin)
