"""Where Hydra looks for options: in the main folder, then in the user's, then in those of plugins."""

from collections.abc import Iterable
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra

from fused_clip.support.plugins import plugins

_PLUGIN = "fused_clip plugin "
_SCHEMA = "schema"  # Hydra's name for its last source


def add_plugins(search_path: ConfigSearchPath) -> None:
    """Put the folders of plugins behind all others, on a path to which Hydra still adds.

    Parameters
    ----------
    search_path : of a Hydra that starts.

    Raises
    ------
    InputError
        If two plugins, or a plugin and this package, have an option of one name.
    """
    found = plugins()
    if found:
        # Hydra puts --config-dir before the first source of this name, and adds one of it at the end.
        search_path.append(_SCHEMA, "structured://")
    for plugin in found:
        search_path.append(f"{_PLUGIN}{plugin.name}", f"file://{plugin.conf}")


def add_folders(folders: Iterable[str | Path]) -> None:
    """Let the running Hydra look into folders too, as ``--config-dir`` does, and after them into plugins.

    It takes effect with the next composition that sets ``hydra.searchpath``, be it to an empty list.

    Parameters
    ----------
    folders : absolute paths, the first of which goes before the others.

    Raises
    ------
    InputError
        As `add_plugins`.
    """
    search_path = GlobalHydra.instance().config_loader().get_search_path()
    for folder in folders:
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(_SCHEMA))
    if not any(is_plugins(one.provider) for one in search_path.get_path()):
        for plugin in plugins():
            search_path.prepend(f"{_PLUGIN}{plugin.name}", f"file://{plugin.conf}", SearchPathQuery(_SCHEMA))


def is_plugins(provider: str) -> bool:
    """Whether a source of options is a plugin's.

    Parameters
    ----------
    provider : Hydra's name of the source.
    """
    return provider.startswith(_PLUGIN)
