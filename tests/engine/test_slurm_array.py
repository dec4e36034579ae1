"""Arrays of Slurm: what is refused before anything is written, and what is submitted."""

import os
import pickle
import signal
from functools import partial
from pathlib import Path

import pytest

from fused_clip import InputError
from fused_clip.engine.slurm_array import ArrayTask, SlurmArray
from fused_clip.engine.submissions import SUBMITTED, submitted, submitted_options
from tests import fake_slurm


def noted(folder: str, number: int) -> None:
    Path(folder, f"{number}.txt").write_text("done")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the programs."""
    pytest.importorskip("submitit")
    folder = fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", fake_slurm.path_with(folder))
    return folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0}, r"hydra.launcher.minutes: must be greater than or equal to 1, got 0"),
        ({"memory_gb": "4G"}, r"hydra.launcher.memory_gb: must be a valid number, got '4G'"),
        (
            {"setup": "module load cuda"},
            r"hydra.launcher.setup: must be a valid list, got 'module load cuda'",
        ),
        ({"requeues": -1}, r"hydra.launcher.requeues: must be greater than or equal to 0, got -1"),
    ],
)
def test_options_of_another_type_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SlurmArray.of(options)


def test_a_machine_without_slurm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"hydra/launcher: needs Slurm's sbatch on this machine, and it is not"
    ):
        SlurmArray().check(1)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs submitit, .*pip install 'fused_clip\[slurm\]'"):
        SlurmArray().check(1)


@pytest.mark.parametrize(
    ("array", "tasks", "message"),
    [
        (
            SlurmArray(partition="cqu"),
            1,
            r"partition: must be .*, got 'cqu'; choose from: cpu, long, short \(did",
        ),
        (SlurmArray(partition="short"), 1, r"minutes: must be at most 1 in the partition short, got 60"),
        (SlurmArray(partition="cpu,short"), 1, r"minutes: must be at most 1 in the partition short, got 60"),
        (
            SlurmArray(partition="long", minutes=2911),
            1,
            r"minutes: must be at most 2910 in the partition long",
        ),
        (
            SlurmArray(),
            201,
            r"tasks: an array has at most 200 tasks here \(MaxArraySize\), and this one 201\.",
        ),
    ],
    ids=range(5),
)
def test_what_the_cluster_does_not_allow_is_refused(
    slurm: Path, array: SlurmArray, tasks: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        array.check(tasks)


def test_what_the_cluster_allows_is_not_refused(slurm: Path) -> None:
    SlurmArray(partition="long", minutes=2910).check(200)
    (slurm / "refuse").write_text(
        "allocation failure: Required node not available (down, drained or reserved)"
    )
    SlurmArray(partition="cpu").check(1)


def test_sbatch_is_asked_before_anything_is_written(slurm: Path) -> None:
    (slurm / "refuse").write_text("sbatch: error: Invalid account\nallocation failure: Invalid account\n")
    with pytest.raises(
        InputError, match=r"is refused by sbatch \(Invalid account; allocation failure: Invalid"
    ):
        SlurmArray(account="nobody", gpus=2, memory_gb=1.5, extra={"nice": 5}).check(3)
    (call,) = [one for one in (slurm / "calls").read_text().splitlines() if one.startswith("sbatch")]
    for flag in (
        "--account=nobody",
        "--gpus-per-node=2",
        "--mem=1536M",
        "--nice=5",
        "--array=0-2",
        "--time=60",
    ):
        assert flag in call.split()


def test_a_controller_that_does_not_answer_is_named(slurm: Path, tmp_path: Path) -> None:
    (slurm / "down").touch()
    with pytest.raises(
        InputError, match=r"Slurm: does not answer \(sinfo: Unable to contact slurm controller"
    ):
        SlurmArray().check(1)


def test_an_array_has_a_task_for_each_number(slurm: Path, tmp_path: Path) -> None:
    (slurm / "hold").touch()
    folder = tmp_path / "sweep" / "slurm"
    array = SlurmArray(
        partition="cpu", minutes=10, cpus=3, at_once=2, setup=["module load x"], extra={"nice": 7}, requeues=4
    )
    ids = array.submit(partial(noted, str(tmp_path)), [3, 1, 8], folder, "mine")
    assert ids == {3: "10_0", 1: "10_1", 8: "10_2"}
    assert submitted(folder) == ids
    assert SlurmArray.of(submitted_options(folder)) == array
    lines = (slurm / "job-10").read_text().splitlines()
    for line in (
        "#SBATCH --array=0-2%2", "#SBATCH --requeue", "#SBATCH --signal=USR2@90", "#SBATCH --time=10",
        "#SBATCH --partition=cpu", "#SBATCH --nice=7", "#SBATCH --cpus-per-task=3", "#SBATCH --job-name=mine",
        'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-3}"', "module load x",
    ):  # fmt: skip
        assert line in lines
    assert not any("wckey" in line for line in lines)
    (command,) = [line for line in lines if line.startswith("srun --unbuffered")]
    assert "--cpus-per-task=3" in command.split()


def test_a_call_is_pickled_by_reference(slurm: Path, tmp_path: Path) -> None:
    (slurm / "hold").touch()
    SlurmArray(requeues=4).submit(partial(noted, str(tmp_path)), [3, 1], tmp_path / "jobs", "mine")
    content = (tmp_path / "jobs" / "10_1_submitted.pkl").read_bytes()
    assert len(content) < 1000
    delayed = pickle.loads(content)
    assert delayed.args == (1,)
    assert delayed.function.call.func is noted
    assert delayed._timeout_countdown == 4


@pytest.mark.parametrize(("minutes", "seconds"), [(1, 1), (2, 30), (3, 60), (5, 90)])
def test_the_warning_leaves_half_of_a_short_limit_to_work(
    slurm: Path, tmp_path: Path, minutes: int, seconds: int
) -> None:
    (slurm / "hold").touch()
    SlurmArray(minutes=minutes).submit(partial(noted, str(tmp_path)), [1], tmp_path / "jobs", "mine")
    assert f"#SBATCH --signal=USR2@{seconds}\n" in (slurm / "job-10").read_text()


def test_numbers_that_are_submitted_again_have_their_new_job(slurm: Path, tmp_path: Path) -> None:
    (slurm / "hold").touch()
    array, folder = SlurmArray(), tmp_path / "jobs"
    array.submit(partial(noted, str(tmp_path)), [1, 2, 3], folder, "mine")
    array.submit(partial(noted, str(tmp_path)), [2], folder, "mine")
    assert submitted(folder) == {1: "10_0", 2: "11", 3: "10_2"}
    (slurm / "queue").write_text("10_0 RUNNING\n10_1 RUNNING\n10_2 COMPLETED\n11 REQUEUE_HOLD\n")
    assert array.states(folder) == {1: "running", 2: "pending", 3: "gone"}
    assert "--jobs=10,11" in (slurm / "calls").read_text().splitlines()[-1]
    (slurm / "queue").write_text("10_2 COMPLETING\n")
    assert array.states(folder) == {1: "gone", 2: "gone", 3: "running"}


def test_a_refused_array_leaves_no_note(slurm: Path, tmp_path: Path) -> None:
    (slurm / "refuse").write_text(
        "sbatch: error: Batch job submission failed: Job violates accounting policy"
    )
    with pytest.raises(InputError, match=r"is refused by sbatch \(Batch job submission failed: Job violates"):
        SlurmArray().submit(partial(noted, str(tmp_path)), [1, 2], tmp_path / "jobs", "mine")
    assert not (tmp_path / "jobs" / SUBMITTED).exists()
    assert submitted(tmp_path / "jobs") == {}


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [[4, 5], [6]])
def test_tasks_run(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: list[int]) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    array = SlurmArray()
    array.submit(partial(noted, str(tmp_path)), numbers, tmp_path / "jobs", "mine")
    array.wait(tmp_path / "jobs", pause=0.1)
    assert sorted(path.stem for path in tmp_path.glob("*.txt")) == list(map(str, numbers))


def test_sigterm_ends_a_task_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    ends: list[int] = []

    def interrupted(number: int) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # does not disturb the end
            ends.append(number)

    try:
        with pytest.raises(SystemExit) as stopped:
            ArrayTask(interrupted)(7)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ends == [7]
    assert stopped.value.code == 143


def test_a_task_goes_on_as_it_was() -> None:
    pytest.importorskip("submitit")
    before = signal.getsignal(signal.SIGTERM)
    try:
        task = ArrayTask(partial(noted, "x"))
        again = task.checkpoint(3)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN, "the requeue sends it"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert again.function is task
    assert again.args == (3,)
