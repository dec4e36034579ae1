"""Measurements that are kept: the same command goes on where it was stopped."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from joblib import Parallel, delayed

from fused_clip.support.files import write_atomic

Task = TypeVar("Task", bound=NamedTuple)
Line = dict[str, Any]


def measure_all(
    measure: Callable[[Task], list[Line]],
    tasks: Sequence[Task],
    file_of: Callable[[Task], str],
    folder: Path,
    jobs: int,
) -> list[Line]:
    """Measure every task that the folder lacks, several side by side; give the lines of all.

    Parameters
    ----------
    measure : gives the lines of a task.
    tasks : all tasks.
    file_of : names the file of a task.
    folder : where the files are.
    jobs : processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / file_of(task): task for task in tasks}
    todo = [(file, task) for file, task in files.items() if not file.is_file()]
    Parallel(jobs)(delayed(_keep)(measure, task, file) for file, task in todo)
    return [line for file in files for line in json.loads(file.read_text("utf-8"))]


def _keep(measure: Callable[[Task], list[Line]], task: Task, file: Path) -> None:
    write_atomic(file, json.dumps(measure(task)).encode())
    print(file.name, flush=True)
