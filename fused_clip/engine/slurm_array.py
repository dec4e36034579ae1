"""Numbered calls as one array of Slurm, by submitit."""

import importlib.util
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from fused_clip.engine import slurm_queue
from fused_clip.engine.engine_options import OPTIONS, EngineOptions
from fused_clip.engine.submissions import State, queued, state_of, write_submitted
from fused_clip.support.errors import InputError
from fused_clip.support.option_types import Count, Name, Positive, Text

if TYPE_CHECKING:
    from submitit import SlurmExecutor
    from submitit.core.utils import DelayedSubmission

_EARLIER = 30  # seconds: slurmctld looks at limits so often


@dataclass(frozen=True)
class ArrayTask:
    """A task of an array: a call, which Slurm may stop, and which then goes on in the same task.

    Parameters
    ----------
    call : takes a number.
    """

    call: Callable[[int], None]

    def __call__(self, number: int) -> None:
        """Run the call; SIGTERM, by which Slurm announces the end, ends it as an interruption does.

        Parameters
        ----------
        number : for the call.
        """
        signal.signal(signal.SIGTERM, _end_once)
        self.call(number)

    def checkpoint(self, number: int) -> "DelayedSubmission":
        """Give the same task again: submitit asks before the time limit, and puts it into the queue.

        Parameters
        ----------
        number : for the call.
        """
        from submitit.helpers import DelayedSubmission

        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of the requeue: this process is about to end
        return DelayedSubmission(self, number)


def _end_once(signum: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signum)


class SlurmArray(EngineOptions):
    """Options of an array of Slurm; None leaves a value to the cluster.

    Parameters
    ----------
    partition, account, qos, constraint : as of ``sbatch``.
    minutes : time limit of a task.
    cpus : of a task.
    memory_gb : of a task.
    gpus : of a task.
    at_once : tasks that may run side by side.
    setup : lines of shell that run before a task, such as ``module load``.
    signal_seconds : time before the limit at which a task stops, and goes back into the queue to go on; at
        most about half of the limit.
    requeues : how often a task goes on after its time limit.
    extra : further options of ``sbatch``.
    """

    partition: Name | None = None
    account: Name | None = None
    qos: Name | None = None
    constraint: Name | None = None
    minutes: Count = 60
    cpus: Count = 1
    memory_gb: Positive | None = None
    gpus: Count | None = None
    at_once: Count | None = None
    setup: list[Text] = Field(default_factory=list)
    signal_seconds: Count = 90
    requeues: int = Field(default=20, ge=0)
    extra: dict[str, str | int | float | bool] = Field(default_factory=dict)

    def check(self, tasks: int) -> None:
        """Check, before anything is written, that Slurm would take an array.

        Parameters
        ----------
        tasks : in the array.

        Raises
        ------
        InputError
            If submitit or Slurm is missing, or the array is too large or refused.
        """
        if importlib.util.find_spec("submitit") is None:
            rule = "needs submitit, which is not installed"
            raise InputError("hydra/launcher", rule, "slurm", hint="pip install 'fused_clip[slurm]'")
        for program in ("sbatch", "srun", "squeue"):
            if shutil.which(program) is None:
                rule = f"needs Slurm's {program} on this machine, and it is not on PATH"
                raise InputError(
                    "hydra/launcher", rule, "slurm", hint="Submit from a login node of the cluster"
                )
        self._check_partition()
        most = slurm_queue.max_array_size()
        if tasks > most:
            rule = f"an array has at most {most:,} tasks here (MaxArraySize), and this one {tasks:,}"
            raise InputError("tasks", rule, hint="Put more work into a task")
        refusal = slurm_queue.refusal(self._flags(tasks))
        if refusal:
            raise InputError(OPTIONS, f"is refused by sbatch ({refusal})")

    def _check_partition(self) -> None:
        limits = slurm_queue.partitions()
        if self.partition is None:
            return
        for name in self.partition.split(","):
            if name not in limits:
                rule = "must be a partition of this cluster"
                raise InputError(f"{OPTIONS}.partition", rule, self.partition, choices=sorted(limits))
            limit = limits[name]
            if limit is not None and self.minutes > limit:
                rule = f"must be at most {limit:g} in the partition {name}"
                raise InputError(f"{OPTIONS}.minutes", rule, self.minutes)

    def _flags(self, tasks: int) -> list[str]:
        """Options of sbatch, as far as it may refuse them."""
        named = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "time": self.minutes,
            "cpus-per-task": self.cpus,
            "mem": None if self.memory_gb is None else f"{round(self.memory_gb * 1024)}M",
            "gpus-per-node": self.gpus,
            "array": f"0-{tasks - 1}" if tasks > 1 else None,
            **self.extra,
        }
        present = {name: value for name, value in named.items() if value is not None and value is not False}
        return [f"--{name}" if value is True else f"--{name}={value}" for name, value in present.items()]

    def submit(
        self, call: Callable[[int], None], numbers: Iterable[int], folder: Path, name: str
    ) -> dict[int, str]:
        """Submit one array with a task for each number; give the id of each task.

        Parameters
        ----------
        call : takes a number; a `functools.partial` of a function of a module, or such a function.
        numbers : of the tasks.
        folder : for the logs, and ``submitted.json``; all machines must see it.
        name : of the array.

        Raises
        ------
        InputError
            If Slurm refuses the array.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        wanted = list(numbers)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            jobs = self._executor(folder, name).map_array(ArrayTask(call), wanted)
        except (FailedJobError, FailedSubmissionError) as error:
            raise InputError(OPTIONS, f"is refused by sbatch ({slurm_queue.line(str(error))})") from error
        ids = dict(zip(wanted, (str(job.job_id) for job in jobs), strict=True))
        write_submitted(folder, ids, self.model_dump(mode="json"))
        return ids

    def _warning(self) -> int:
        """Seconds before the limit at which Slurm signals; it does so up to half a minute earlier."""
        return max(1, min(self.signal_seconds, self.minutes * 30 - _EARLIER))

    def _executor(self, folder: Path, name: str) -> "SlurmExecutor":
        from submitit import SlurmExecutor

        executor = SlurmExecutor(folder, max_num_timeout=self.requeues)
        threads = f'export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{self.cpus}}}"'
        wanted = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "mem": None if self.memory_gb is None else f"{round(self.memory_gb * 1024)}M",
            "gpus_per_node": self.gpus,
            "array_parallelism": self.at_once,
        }
        executor.update_parameters(
            job_name=name,
            time=self.minutes,
            cpus_per_task=self.cpus,
            srun_args=[f"--cpus-per-task={self.cpus}"],  # since 22.05 srun does not take sbatch's
            setup=[threads, *self.setup],
            signal_delay_s=self._warning(),
            wckey=None,
            additional_parameters={"requeue": True, **self.extra},
            **{key: value for key, value in wanted.items() if value is not None},
        )
        return executor

    def states(self, folder: Path) -> dict[int, State]:
        """Say of each task that was submitted from a folder whether it waits, runs, or is gone.

        Parameters
        ----------
        folder : as for `submit`.

        Raises
        ------
        InputError
            If Slurm does not answer.
        """
        return {number: state_of(said) for number, said in queued(folder).items()}

    def wait(self, folder: Path, pause: float = 10.0) -> None:
        """Wait until no task of a folder is in the queue.

        Parameters
        ----------
        folder : as for `submit`.
        pause : seconds between two looks.
        """
        while any(state != "gone" for state in self.states(folder).values()):
            time.sleep(pause)
