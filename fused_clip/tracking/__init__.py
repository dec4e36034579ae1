"""Runs in MLflow: one parent a sweep, one child a cell, figures in the image grid.

The only package that imports mlflow. `conf/tracking` chooses between its two trackers, which take the same
calls: `check` before work starts, `run` around a cell, `start_sweep` and `end_sweep` around all cells.
"""

from fused_clip.tracking.runs import MlflowTracker
from fused_clip.tracking.tracker import ActiveRun, NoTracker, Tracker

__all__ = ["ActiveRun", "MlflowTracker", "NoTracker", "Tracker"]
