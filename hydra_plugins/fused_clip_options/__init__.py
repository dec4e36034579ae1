"""Options of installed plugins, for Hydra; Hydra looks for plugins below ``hydra_plugins`` alone."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class PluginOptions(SearchPathPlugin):
    """Puts the config folders of fused_clip's plugins behind its own; other programs stay as they are."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folders; InputError where an option is there twice."""
        from fused_clip.runner.search_path import add_plugins
        from fused_clip.support.conf import conf_dir

        if any(one.provider == "main" and one.path == str(conf_dir()) for one in search_path.get_path()):
            add_plugins(search_path)
