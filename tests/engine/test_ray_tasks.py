"""Tasks of Ray: each number runs once to its end, whatever dies, and what is wrong is said in a line."""

import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from experiments.cluster.daemons import CannotInstallError, wait_until
from experiments.cluster.ray_cluster import RayCluster
from fused_clip import InputError
from fused_clip.engine import ray_session
from fused_clip.engine.ray_tasks import RayTasks
from tests import ray_calls

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="without fused_clip[ray]")
CLIENT = importlib.util.find_spec("grpc") is not None


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(RayCluster(client=CLIENT))
        except CannotInstallError as error:
            pytest.skip(str(error))
        yield made


@pytest.fixture
def on_cluster(cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> RayCluster:
    for name, value in cluster.settings.items():
        monkeypatch.setenv(name, value)
    return cluster


@pytest.fixture
def both_nodes(on_cluster: RayCluster) -> RayCluster:
    if not on_cluster.processes("node1"):  # a test has killed it
        on_cluster.start_node("node1")
    return on_cluster


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_importing_the_engine_imports_nothing_of_ray() -> None:
    code = (
        "import sys, fused_clip.engine.ray_tasks, fused_clip.engine.ray_driver\n"
        "from hydra_plugins.fused_clip_launchers import ray_launcher\n"
        "print({'ray', 'submitit', 'pyarrow', 'torch', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd())
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpus": 0}, r"hydra.launcher.cpus: must be greater than 0, got 0"),
        ({"retries": -1}, r"hydra.launcher.retries: must be greater than or equal to 0, got -1"),
        ({"at_once": "all"}, r"hydra.launcher.at_once: must be a valid integer, got 'all'"),
        ({"partition": "cpu"}, r"hydra.launcher.partition: Extra inputs are not permitted"),
        ({"env": {"A": 1}}, r"hydra.launcher.env.A: must be a valid string, got 1"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RayTasks.of(options)


def test_without_ray_the_check_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fused_clip.engine.ray_tasks.find_spec", lambda _: None)
    with pytest.raises(
        InputError, match=r"needs Ray, which is not installed.*pip install 'fused_clip\[ray\]'"
    ):
        RayTasks().check()


@needs_ray
def test_an_address_at_which_nothing_listens_is_refused_at_once() -> None:
    port = free_port()
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(
            InputError, match=r"hydra.launcher.address: no Ray cluster answers there .*refused"
        ):
            RayTasks(address=address).check()
    for address in ("127.0.0.1", "ray://head", "http://127.0.0.1:8265/", "127.0.0.1:99999999"):
        with pytest.raises(
            InputError, match=r"hydra.launcher.address: (must be auto|no Ray cluster answers)"
        ):
            RayTasks(address=address).check()


@needs_ray
def test_a_task_that_no_node_has_room_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fused_clip.engine.ray_tasks._cpus", lambda: 4)
    RayTasks(cpus=4).check()
    with pytest.raises(InputError, match=r"hydra.launcher.cpus: must be at most 4, .* got 5.0"):
        RayTasks(cpus=5).check()
    with pytest.raises(InputError, match=r"hydra.launcher.memory_gb: must fit into the largest node"):
        RayTasks(memory_gb=10_000).check()
    with pytest.raises(InputError, match=r"hydra.launcher: no single node has the cpus, gpus and memory_gb"):
        RayTasks(cpus=4, gpus=1)._check_node([{"CPU": 4, "GPU": 0}, {"CPU": 1, "GPU": 1}])


def test_what_ray_says_becomes_a_line() -> None:
    page = (
        "Traceback ...\nRuntimeError: Version mismatch: The cluster was started with:\n    Ray: 2.51.0\n"
        "    Python: 3.12.1\nThis process on Ray Client was started with:\n    Ray: 2.60.0\n"
        "    Python: 3.11.7\n"
    )
    error = ray_session.refused("head:6379", page)
    assert "runs Ray 2.51.0 on Python 3.12.1, and this machine Ray 2.60.0 on Python 3.11.7" in str(error)
    assert "no Ray cluster runs on this machine" in str(
        ray_session.refused("auto", "ConnectionError: Could not find any running Ray instance. Please ...")
    )
    assert str(ray_session.refused("local", "x\nOSError: no room\n")) == (
        "Ray: can't be started on this machine (OSError: no room)"
    )
    assert "(it does not answer)" in str(ray_session.refused("head:6379", "W rpc_client.h\n", waits=True))


@needs_ray
@pytest.mark.slow
def test_a_port_of_something_else_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself goes on for many minutes."""
    monkeypatch.setattr(ray_session, "_PATIENCE", {"cluster": 2.0})
    monkeypatch.setattr(ray_session, "_SECONDS_TO_END", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(InputError, match=r"no Ray cluster can be used there \(it does not answer\)"):
            RayTasks(address=address).check()


@needs_ray
@pytest.mark.slow
def test_each_number_that_fails_has_a_line_and_the_others_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRIED", "carried")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["fused-clip", "seed=1"])
    before = dict(os.environ), signal.getsignal(signal.SIGTERM), logging.getLogger().handlers[:]
    with caplog.at_level(logging.INFO):
        failed = RayTasks(retries=1).run(partial(ray_calls.mixed, str(tmp_path)), range(1, 7), "try")
    assert (tmp_path / "1").read_text() == (tmp_path / "6").read_text() == "carried\nseed=1"
    assert {path.name for path in tmp_path.iterdir()} == {"1", "6"}
    assert failed.pop(3).startswith("its worker died, and so at each retry")
    assert failed == {
        2: "seed: must not be two, got 2",
        4: "RuntimeError: first line",
        5: "ended its process (by itself)",
    }
    assert "try: 6 of 6 ended" in caplog.messages[-1]
    assert any("2 failed: seed: must not be two, got 2" in line for line in caplog.messages)
    assert before == (dict(os.environ), signal.getsignal(signal.SIGTERM), logging.getLogger().handlers[:])
    assert capfd.readouterr() == ("", "")
    assert "ray" not in sys.modules


@needs_ray
@pytest.mark.slow
def test_a_cluster_refuses_in_a_line(on_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    RayTasks(address=on_cluster.address).check()
    with pytest.raises(InputError, match=r"hydra.launcher.cpus: must be at most 1, .* got 2"):
        RayTasks(address=on_cluster.address, cpus=2).check()
    with monkeypatch.context() as patch:
        claim = "import ray; ray.__version__ = '2.51.7'; "
        patch.setattr(ray_session, "_PROGRAM", claim + ray_session._PROGRAM)
        with pytest.raises(
            InputError, match=r"runs Ray .* on Python .*, and this machine Ray 2\.51\.7 on Python"
        ):
            RayTasks(address=on_cluster.address).check()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    with pytest.raises(
        InputError, match=r"hydra.launcher.address: the cluster asks for a token, and has another"
    ):
        RayTasks(address=on_cluster.address).check()


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(not CLIENT, reason="without ray[client]")
def test_a_driver_elsewhere_uses_the_client(on_cluster: RayCluster, tmp_path: Path) -> None:
    """One connection: the head starts a server for each. Batches run as tasks there."""
    tasks = RayTasks(address=on_cluster.client_address)
    assert not tasks.run(partial(ray_calls.note, str(tmp_path)), [7, 8], "try", batches=True)
    assert {path.name for path in tmp_path.iterdir()} == {"7", "8"}


@needs_ray
@pytest.mark.slow
def test_ctrl_c_interrupts_the_tasks(both_nodes: RayCluster, tmp_path: Path) -> None:
    def interrupt() -> None:
        try:
            wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2, "tasks", 200, pause=0.05)
        finally:  # else this test would never end
            os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        RayTasks(address=both_nodes.address).run(
            partial(ray_calls.endless, str(tmp_path)), range(1, 5), "try"
        )
    interrupter.join()
    assert {path.name for path in tmp_path.glob("interrupted-*")} == {
        path.name.replace("begun", "interrupted") for path in tmp_path.glob("begun-*")
    }
    assert len(list(tmp_path.glob("begun-*"))) == 2, "those that waited never began"


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("batches", [False, True])
def test_a_node_that_dies_loses_and_doubles_nothing(
    both_nodes: RayCluster, tmp_path: Path, batches: bool
) -> None:
    tasks, ended = RayTasks(address=both_nodes.address, retries=3), []

    def kill() -> None:
        wait_until(lambda: len(list(tmp_path.glob("begun-*"))) >= 3, "tasks", pause=0.05)
        both_nodes.kill_node("node1")

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        call = partial(ray_calls.slow, str(tmp_path))
        failed = tasks.run(call, range(1, 7), "try", batches, lambda number, error: ended.append(number))
    finally:
        killer.join()
    assert not failed
    assert sorted(ended) == [1, 2, 3, 4, 5, 6], "each once"
    assert {path.name for path in tmp_path.iterdir() if path.name.isdigit()} == set("123456")
