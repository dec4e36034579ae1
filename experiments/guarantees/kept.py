"""Measurements that are kept: the same command goes on where it was stopped."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from joblib import Parallel, delayed

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
    todo = [task for task in tasks if not (folder / file_of(task)).is_file()]
    running = Parallel(jobs, return_as="generator")(delayed(measure)(task) for task in todo)
    for task, lines in zip(todo, running, strict=True):
        (folder / file_of(task)).write_text(json.dumps(lines), "utf-8")
        print(f"{file_of(task)}: {len(lines)} lines", flush=True)
    return [line for task in tasks for line in json.loads((folder / file_of(task)).read_text("utf-8"))]
