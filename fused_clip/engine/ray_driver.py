"""The program that talks to Ray, in a process of its own, which `fused_clip.engine.ray_tasks` starts.

Ray sets handlers of signals, loggers and variables of the environment, prints pages of warnings, and can wait
for ever for a cluster that is gone. Here it may: only lines of JSON leave this process, by standard output.
It ends when its standard input does.
"""

import _thread
import base64
import json
import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import IO, Any

_WINDOW = 1000  # tasks that Ray knows at a time: more make each look at their states slower
_SECONDS_TO_END = 10.0  # for a task that is cancelled to close its run
_TOO_EARLY = ("ZombieProcess", "Starting Ray client server failed")
_OBJECTS = 100 << 20  # bytes: numbers and lines of text; Ray's own choice may not fit into /dev/shm


def run_numbered(call: bytes, surroundings: Mapping[str, Any], number: int) -> str:
    """Run a call in a worker of Ray; give why it failed, in a line, or nothing.

    Parameters
    ----------
    call : pickled.
    surroundings : ``environment``, variables to set, and ``argv``, the command line of the user.
    number : for the call.
    """
    os.environ.update(surroundings["environment"])
    sys.argv[:] = surroundings["argv"]  # runs are tagged with it, and a worker's own has keys of the cluster
    try:
        # This user's own process made the pickle.
        pickle.loads(call)(number)  # noqa: S301  # nosec B301
    except Exception as error:
        traceback.print_exc()  # for the worker's log
        return _line(error)
    except SystemExit as error:
        return f"ended its process ({error.code})"
    return ""


def _ray() -> Any:
    return import_module("ray")  # untyped, whether it is installed or not


def _line(error: BaseException) -> str:
    from fused_clip.support.machine import explain

    explained = explain(error)
    first = next(iter(str(explained or error).splitlines()), "")
    return first if explained else f"{type(error).__name__}: {first}".removesuffix(": ")


class NumberedBatch:
    """A call for batches of Ray Data, which are of one number each.

    Parameters
    ----------
    call, surroundings : as of `run_numbered`.
    """

    def __init__(self, call: bytes, surroundings: Mapping[str, Any]) -> None:
        self.call = call
        self.surroundings = surroundings

    def on_batch(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Run the call.

        Parameters
        ----------
        batch : column ``number``.
        """
        numbers = [int(number) for number in batch["number"]]
        errors = [run_numbered(self.call, self.surroundings, number) for number in numbers]
        return {"number": numbers, "error": errors}


def _connect(request: Mapping[str, Any]) -> None:
    ray = _ray()
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    if request["address"] != "local":
        try:
            ray.init(request["address"], **quiet)
        except Exception as error:
            # A busy head looks at the process of the client's server before that is there.
            if not any(said in str(error) for said in _TOO_EARLY):
                raise
            ray.init(request["address"], **quiet)
        return
    ray.init(
        "local",
        num_cpus=request["local_cpus"],
        include_dashboard=False,
        object_store_memory=_OBJECTS,
        **quiet,
    )


def _nodes() -> list[dict[str, float]]:
    ray = _ray()
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _resources(request: Mapping[str, Any]) -> dict[str, Any]:
    """Resources of a task, by the names of Ray's arguments."""
    wanted = {"num_cpus": request["cpus"], "num_gpus": request["gpus"], "memory": request["memory"]}
    return {name: value for name, value in wanted.items() if value}


def _tasks(request: Mapping[str, Any], call: bytes) -> Iterator[tuple[int, str]]:
    """Run a task for each number, at most so many at once; give numbers and errors as they end."""
    ray = _ray()
    options = {"max_retries": request["retries"], **_resources(request)}
    remote = ray.remote(run_numbered).options(**options)
    shared, surroundings = ray.put(call), ray.put(request["surroundings"])
    waiting = iter(request["numbers"])
    running: dict[Any, int] = {}
    try:
        while True:
            while (
                len(running) < (request["at_once"] or _WINDOW) and (number := next(waiting, None)) is not None
            ):
                running[remote.remote(shared, surroundings, number)] = number
            if not running:
                return
            for task in ray.wait(list(running))[0]:
                yield running.pop(task), _result(task)
    except BaseException:
        _cancel(list(running))
        raise


def _result(task: Any) -> str:
    ray = _ray()
    try:
        return str(ray.get(task))
    except ray.exceptions.RayError as error:
        return _trouble(str(error), error)


def _trouble(text: str, error: BaseException) -> str:
    """What kept Ray from running a task, in a line; it is Ray's, or of the nodes."""
    if "No module named 'fused_clip'" in text:
        return "its node lacks fused_clip: every node needs this package, in the same version"
    first = next(iter(text.splitlines()), "").partition(". ")[0][:200]
    return f"its worker died, and so at each retry ({type(error).__name__}: {first})"


def _cancel(tasks: Sequence[Any]) -> None:
    """End tasks as Ctrl-C does, and those that do not end in time by force."""
    ray = _ray()
    for task in tasks:
        ray.cancel(task)
    left = ray.wait(list(tasks), num_returns=len(tasks), timeout=_SECONDS_TO_END)[1] if tasks else []
    for task in left:
        ray.cancel(task, force=True)


def _batches(request: Mapping[str, Any], call: bytes) -> Iterator[tuple[int, str]]:
    """Run the numbers as a data set of Ray Data, a row a batch; give numbers and errors as they end."""
    data = import_module("ray.data")
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # the others go on
    numbers, retries = request["numbers"], request["retries"]
    made = data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
    ended = made.map_batches(
        NumberedBatch(call, request["surroundings"]).on_batch,
        batch_size=1,
        compute=data.TaskPoolStrategy(size=request["at_once"]),
        ray_remote_args_fn=lambda: {"max_retries": retries},
        **_resources(request),
    )
    left = dict.fromkeys(numbers)
    for row in ended.iter_rows():
        left.pop(row["number"])
        yield row["number"], row["error"]
    for number in left:
        yield number, "its worker died, and so at each retry"


def _interrupt_at_the_end_of(stream: IO[str], done: threading.Event) -> None:
    stream.read()
    if not done.is_set():
        _thread.interrupt_main()
    time.sleep(2 * _SECONDS_TO_END)
    os._exit(1)  # Ray waits for a cluster that is gone


def main() -> None:
    """Read a request, connect, write the nodes' resources, and then how each number ended."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print
    request = json.loads(sys.stdin.readline())
    done = threading.Event()
    threading.Thread(target=_interrupt_at_the_end_of, args=[sys.stdin, done], daemon=True).start()
    try:
        _connect(request)
        print(json.dumps({"nodes": _nodes()}), file=out)
        call = base64.b64decode(request["call"])
        # Ray Data breaks the connection of Ray's client (2.60); tasks run the same calls.
        client = str(request["address"]).startswith("ray://")
        run = _batches if request["batches"] and not client else _tasks
        for number, error in run(request, call) if request["numbers"] else ():
            print(json.dumps({"number": number, "error": error}), file=out)
        done.set()
    except KeyboardInterrupt:
        sys.exit(1)
