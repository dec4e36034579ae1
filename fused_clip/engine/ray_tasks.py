"""Numbered calls as tasks of Ray, on this machine or on a cluster."""

import base64
import logging
import os
import pickle
import re
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from pydantic import Field

from fused_clip.engine.engine_options import OPTIONS, EngineOptions
from fused_clip.engine.ray_session import session
from fused_clip.support.errors import InputError
from fused_clip.support.memory import available_memory, size
from fused_clip.support.option_types import Count, NotNegative, Positive, Text

log = logging.getLogger(__name__)
_SECONDS = 5.0  # until a port of the cluster must answer
# What calls read from the environment of the user, and workers of Ray would not have.
_CARRIED = re.compile(
    r"(FUSED_CLIP|MLFLOW|HF|HUGGINGFACE|TORCH|AWS|GOOGLE|AZURE)_\w+|PG[A-Z]+|(HTTPS?|NO)_PROXY", re.IGNORECASE
)
_ENDED = Callable[[int, str], None]


class RayTasks(EngineOptions):
    """Options of tasks of Ray.

    Parameters
    ----------
    address : of the cluster: ``auto`` for the one that this machine is a node of, ``host:port`` of its head,
        or ``ray://host:port``; None for ``RAY_ADDRESS``, else for this machine alone.
    cpus, gpus : of a task; they may be fractions, and Ray sets ``OMP_NUM_THREADS`` to `cpus`.
    memory_gb : of a task; None reserves none.
    at_once : tasks that may run side by side; None leaves it to the cluster.
    retries : how often a task starts again after its worker or node died.
    env : further variables of the environment for the tasks.
    """

    address: Text | None = None
    cpus: Positive = 1
    gpus: NotNegative = 0
    memory_gb: Positive | None = None
    at_once: Count | None = None
    retries: int = Field(default=3, ge=0)
    env: dict[str, str] = Field(default_factory=dict)

    @property
    def place(self) -> str:
        """Address for Ray; ``local`` for this machine alone."""
        return self.address or os.environ.get("RAY_ADDRESS") or "local"

    def check(self) -> None:
        """Check, before work starts, that Ray is there and has a node for a task.

        Raises
        ------
        InputError
            If Ray is missing, the cluster does not answer, has another version, or no node is large enough.
        """
        if find_spec("ray") is None:
            rule = "needs Ray, which is not installed"
            raise InputError("hydra/launcher", rule, "ray", hint="pip install 'fused_clip[ray]'")
        if self.place == "local":
            self._check_node([_this_machine(gpus=self.gpus > 0)])
            return
        self._check_address()
        with session(self._request(None, [])) as (nodes, _):
            self._check_node(nodes)

    def run(
        self,
        call: Callable[[int], None],
        numbers: Iterable[int],
        name: str,
        batches: bool = False,
        ended: _ENDED | None = None,
    ) -> dict[int, str]:
        """Run a call for each number, and wait; give the error of each that failed, in a line.

        A number whose worker or node dies runs again. Ctrl-C cancels those that run.

        Parameters
        ----------
        call : takes a number; a `functools.partial` of a function of a module, or such a function. All nodes
            need that module.
        numbers : of the calls.
        name : of the whole, for the log.
        batches : whether Ray Data runs them, a batch a number, rather than one task each; not at ``ray://``.
        ended : called with each number and its error, or an empty text; by default it is logged.

        Raises
        ------
        InputError
            As `check` does.
        """
        wanted = list(dict.fromkeys(numbers))
        failed: dict[int, str] = {}
        left = dict.fromkeys(wanted)
        if not wanted:
            return failed
        self._check_address()
        with session(self._request(call, wanted, batches=batches)) as (nodes, results):
            self._check_node(nodes)
            for number, error in results:
                left.pop(number)
                failed |= {number: error} if error else {}
                if ended:
                    ended(number, error)
                else:
                    outcome = f"{number} failed: {error}" if error else f"{number} is done"
                    log.info("%s: %d of %d ended; %s", name, len(wanted) - len(left), len(wanted), outcome)
        return failed | dict.fromkeys(
            left, "the connection to Ray broke: its head, or its driver here, is gone"
        )

    def _request(
        self, call: Callable[[int], None] | None, numbers: Sequence[int], *, batches: bool = False
    ) -> dict[str, Any]:
        carried = {name: value for name, value in os.environ.items() if _CARRIED.fullmatch(name)}
        return {
            "address": self.place,
            "local_cpus": _cpus(),
            "cpus": self.cpus,
            "gpus": self.gpus,
            "memory": self.memory_gb and round(self.memory_gb * 2**30),
            "at_once": self.at_once,
            "retries": self.retries,
            "numbers": list(numbers),
            "batches": batches,
            "call": base64.b64encode(pickle.dumps(call)).decode(),
            "surroundings": {"environment": {**carried, **self.env}, "argv": sys.argv},
        }

    def _check_address(self) -> None:
        """Raise InputError where nothing listens; Ray would try for many minutes."""
        place = self.place
        if place in ("local", "auto"):
            return
        host, _, port = place.removeprefix("ray://").rpartition(":")
        option = f"{OPTIONS}.address"
        if not host or "/" in host or not port.isdecimal():
            rule = "must be auto, host:port or ray://host:port"
            raise InputError(option, rule, place)
        try:
            socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(option, f"no Ray cluster answers there ({reason})", place) from error
        if place.startswith("ray://") and find_spec("grpc") is None:
            rule = "needs Ray's client, which is not installed"
            raise InputError(option, rule, place, hint="pip install 'ray[client]'")

    def _check_node(self, nodes: Sequence[Mapping[str, float]]) -> None:
        """Raise InputError if no node has what a task asks for: it would wait for ever."""
        wanted = {"CPU": ("cpus", self.cpus), "GPU": ("gpus", self.gpus)}
        for resource, (option, value) in wanted.items():
            most = max((node.get(resource, 0.0) for node in nodes), default=0.0)
            if value > most:
                rule = f"must be at most {most:g}, which is what the largest node has"
                raise InputError(f"{OPTIONS}.{option}", rule, value)
        most = max((node.get("memory", 0.0) for node in nodes), default=0.0)
        if self.memory_gb and self.memory_gb * 2**30 > most:
            rule = f"must fit into the largest node, which has {size(most)}"
            raise InputError(f"{OPTIONS}.memory_gb", rule, self.memory_gb)
        together = {"CPU": self.cpus, "GPU": self.gpus, "memory": (self.memory_gb or 0) * 2**30}
        if not any(all(value <= node.get(key, 0.0) for key, value in together.items()) for node in nodes):
            rule = "no single node has the cpus, gpus and memory_gb of a task together"
            raise InputError(OPTIONS, rule)


def _cpus() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def _this_machine(*, gpus: bool) -> dict[str, float]:
    """Resources of this machine as of a node."""
    found = {"CPU": float(_cpus()), "memory": float(available_memory())}
    if gpus:
        import torch

        found["GPU"] = float(torch.cuda.device_count())
    return found
