"""Tasks that were submitted to Slurm from a folder, and where they stand in its queue."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fused_clip.engine import slurm_queue
from fused_clip.support.checksums import sealed, unsealed
from fused_clip.support.errors import InputError
from fused_clip.support.files import read_regular, write_atomic
from fused_clip.support.json_files import parse_json

SUBMITTED = "submitted.json"
State = Literal["pending", "running", "gone"]
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT")


def write_submitted(folder: Path, jobs: Mapping[int, str], options: Mapping[str, Any]) -> None:
    """Note a submission; numbers that were submitted before keep their newest job alone.

    Parameters
    ----------
    folder : that the tasks were submitted from.
    jobs : id of the task of each number.
    options : of the submission, in types of JSON.
    """
    both = {**submitted(folder), **jobs}
    content = {"jobs": {str(number): job for number, job in both.items()}, "options": dict(options)}
    write_atomic(folder / SUBMITTED, (json.dumps(sealed(content), indent=1) + "\n").encode())


def submitted(folder: Path) -> dict[int, str]:
    """Read the newest job id of each number that was submitted from a folder.

    Parameters
    ----------
    folder : that the tasks were submitted from.

    Raises
    ------
    InputError
        If the note on them is damaged.
    """
    return {int(number): str(job) for number, job in _content(folder).get("jobs", {}).items()}


def submitted_options(folder: Path) -> dict[str, Any]:
    """Read the options of the newest submission from a folder; none if there was no submission.

    Parameters
    ----------
    folder : that the tasks were submitted from.

    Raises
    ------
    InputError
        If the note on them is damaged.
    """
    return dict(_content(folder).get("options", {}))


def _content(folder: Path) -> dict[str, Any]:
    path = folder / SUBMITTED
    if not path.is_file():
        return {}
    try:
        return unsealed(parse_json(read_regular(path)), required=True)
    except (OSError, ValueError) as error:
        raise InputError("directory", f"is damaged: {SUBMITTED} ({error})", str(folder)) from error


def arrays_of(folder: Path) -> list[str]:
    """List the ids of the arrays in which the newest tasks of a folder are, oldest first.

    Parameters
    ----------
    folder : that the tasks were submitted from.
    """
    return sorted({job.partition("_")[0] for job in submitted(folder).values()}, key=int)


def queued(folder: Path) -> dict[int, str]:
    """Read the state of each number that was submitted from a folder, as Slurm says it; empty if it is gone.

    Parameters
    ----------
    folder : that the tasks were submitted from.

    Raises
    ------
    InputError
        If Slurm does not answer.
    """
    found = slurm_queue.states(arrays_of(folder))
    return {number: found.get(job, "") for number, job in submitted(folder).items()}


def state_of(said: str) -> State:
    """Put a state of Slurm into one of three: whether a task waits, runs, or is gone.

    Parameters
    ----------
    said : as Slurm says it.
    """
    if said in _WAITING:
        return "pending"
    return "gone" if said in ("", *slurm_queue.ENDED) else "running"
