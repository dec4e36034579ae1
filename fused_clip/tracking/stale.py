"""Runs that are still open although nobody works on them."""

from typing import TYPE_CHECKING

from fused_clip.tracking.database import all_runs
from fused_clip.tracking.process import is_gone

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROCESS = "process"  # tag of the process that a run belongs to
_GONE = "its process is gone: killed, or the machine stopped"


def close_abandoned(client: "MlflowClient", experiment_id: str) -> None:
    """End as KILLED the runs that are RUNNING although the process that opened them is gone."""
    for run in all_runs(client, experiment_id, "attributes.status = 'RUNNING'"):
        gone = is_gone(run.data.tags.get(PROCESS, ""))
        # Asked once more: it may have ended the run between the search and its own end.
        if gone and client.get_run(run.info.run_id).info.status == "RUNNING":
            client.set_tag(run.info.run_id, "error", _GONE)
            client.set_terminated(run.info.run_id, "KILLED")
