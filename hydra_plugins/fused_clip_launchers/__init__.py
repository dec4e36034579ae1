"""Hydra's launchers for sweeps on several machines; Hydra looks for plugins below ``hydra_plugins`` alone."""
