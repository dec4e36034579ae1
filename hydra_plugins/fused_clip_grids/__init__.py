"""Hydra's sweeper for several grids; Hydra looks for plugins below ``hydra_plugins`` alone."""

from hydra_plugins.fused_clip_grids.grids_sweeper import GridsSweeper

__all__ = ["GridsSweeper"]
