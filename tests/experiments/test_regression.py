"""Comparing versions: a planted slow-down is caught, noise is not, and what goes wrong has one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.benchmarks import power, regression, revisions, versions
from experiments.benchmarks.pairs import FEWEST, Pairs, Taken
from experiments.benchmarks.regression import Settings
from fused_clip.support.errors import InputError

SUITE = """
from types import SimpleNamespace as One
BENCHMARKS = [One(name=f"toy/{name}", task="toy", sizes=(10, 20), peer=False) for name in NAMES]
BENCHMARKS += [One(name="toy/theirs", task="toy", sizes=(10,), peer=True)]
BENCHMARKS += [One(name="lame/ours", task="lame", sizes=(10,), peer=False, missing=lambda: "no data")]
"""
STEP = """
import json, sys
from pathlib import Path
if "FAILS" in sys.argv[1]:
    raise RuntimeError("planted")
file = Path(__file__).with_name("taken.json")
seconds = json.loads(file.read_text())
print("a library's greeting")
print(json.dumps({"seconds": seconds[0], "cpu_seconds": seconds[1], "facts": {}}))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with two benchmarks that take a second, committed."""
    folder = tmp_path / "checkout"
    (folder / "experiments" / "benchmarks").mkdir(parents=True)
    for package in ("experiments", "experiments/benchmarks"):
        (folder / package / "__init__.py").touch()
    git(folder, "init", "--quiet", "--initial-branch=main")
    write(folder, names=("ours", "other"), seconds=(1.0, 1.0))
    commit(folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def write(folder: Path, names: tuple[str, ...], seconds: tuple[float, float]) -> None:
    benchmarks = folder / "experiments" / "benchmarks"
    (benchmarks / "suite.py").write_text(f"NAMES = {names}\n{SUITE}")
    (benchmarks / "step.py").write_text(STEP)
    (benchmarks / "taken.json").write_text(json.dumps(seconds))


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a")
    return git(folder, "rev-parse", "HEAD")


def settings(**changes: object) -> Settings:
    return Settings(**{"base": "HEAD", "tasks": ("toy",), "sizes": None, "pairs": FEWEST, **changes})


def pairs(*ratios: float, clock: str = "seconds") -> Pairs:
    taken = [Taken(one, 1.0) if clock == "seconds" else Taken(1.0, one) for one in ratios]
    return Pairs([Taken(1.0, 1.0)] * len(ratios), taken)


@pytest.mark.parametrize("clock", ["seconds", "cpu_seconds"])
@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ((1.3, 1.25, 1.21, 1.9, 1.01), True),
        ((1.3, 1.2, 1.2, 1.1, 1.01), False),  # the median is not above 1.2
        ((1.3, 1.3, 1.3, 1.3, 0.99), False),  # the interval reaches below 1
        ((0.5, 0.5, 0.5, 0.5, 0.5), False),
        (
            (0.99, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3),
            True,
        ),  # of eight, the ends are the second and the seventh
        ((0.99, 0.99, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3), False),
    ],
)
def test_the_rule(clock: str, ratios: tuple[float, ...], expected: bool) -> None:
    assert pairs(*ratios, clock=clock).slower() == expected


@pytest.mark.parametrize(("count", "place"), [(5, 0), (7, 0), (8, 1), (11, 2)])
def test_the_interval_is_of_order_statistics(count: int, place: int) -> None:
    measured = pairs(*(1 + one / 10 for one in range(count)))
    ratios = measured.ratios("seconds")
    assert measured.interval("seconds") == (ratios[place], ratios[-1 - place])
    assert measured.interval("cpu_seconds") == (1, 1)


def test_the_interval_has_the_median_as_often_as_it_says() -> None:
    import numpy as np

    random, missed, trials = np.random.default_rng(0), 0, 2_000
    for _ in range(trials):
        low, high = pairs(*np.exp(0.3 * random.standard_normal(8))).interval("seconds")
        missed += not low <= 1 <= high
    assert missed / trials < 0.1


def test_noise_is_not_a_regression_and_one_that_matters_is() -> None:
    assert power.fired(1.0, 0.2, 400) <= 0.005
    assert power.fired(1.0, 0.4, 400) <= 0.01
    assert power.fired(1.5, 0.1, 400) >= 0.99


def test_a_planted_slow_down_is_caught_and_its_worktree_is_gone(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, names=("ours", "other", "fresh"), seconds=(1.5, 1.0))
    assert regression.run(settings(), root) == 1
    printed = capsys.readouterr().out
    slow, same = "1, 1.5 | 1.50, 1.50 (1.50 to 1.50)", "1, 1 | 1.00, 1.00 (1.00 to 1.00)"
    assert f"| toy/ours | 10 | 5 | {slow} | {same} | **slower** |" in printed
    assert "| toy/fresh | 10 | | | | | | new |" in printed
    assert "theirs" not in printed
    assert "may be of other work: `suite.py`." in printed
    assert printed.endswith("Slower by more than 20 %: toy/ours, toy/other.\n")
    assert len(git(root, "worktree", "list").splitlines()) == 1


def test_the_same_code_is_not_slower(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert regression.run(settings(tasks=("toy", "lame"), sizes=(20,)), root) == 0
    printed = capsys.readouterr().out
    assert "| toy/other | 20 | 5 | 1, 1 |" in printed
    assert "| lame/ours | 20 | | | | | | left out: no data |" in printed
    assert "other work" not in printed
    assert printed.endswith("Slower by more than 20 %: none.\n")


def test_what_looks_slower_is_measured_again_and_that_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = [pairs(*[1.5] * FEWEST), pairs(*[1.1] * FEWEST)]
    monkeypatch.setattr(regression, "turns", lambda *_: rounds.pop(0))
    row = regression.compare(Path("a"), Path("b"), "toy/ours", 10, FEWEST)
    assert row.verdict == "slower at first, not again"
    assert row.pairs is not None
    assert row.pairs.ratios("seconds") == [1.1] * FEWEST


def test_base_and_head_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def take(tree: Path, name: str, size: int) -> Taken:
        begun.append(tree.name)
        return Taken(2.0 if tree.name == "head" else 1.0, 1.0)

    monkeypatch.setattr(regression, "take", take)
    measured = regression.turns(Path("base"), Path("head"), "toy/ours", 10, 3)
    assert begun == ["base", "head", "head", "base", "base", "head"]
    assert measured.ratios("seconds") == [2, 2, 2]


def test_a_failing_benchmark_is_one_line(root: Path) -> None:
    write(root, names=("FAILS",), seconds=(1.0, 1.0))
    commit(root)
    rule = r"^toy/FAILS: failed at size 10 in .*, exit code 1: RuntimeError: planted$"
    with pytest.raises(InputError, match=rule):
        regression.run(settings(), root)
    assert len(git(root, "worktree", "list").splitlines()) == 1


@pytest.mark.slow
def test_a_base_without_benchmarks_is_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"has no benchmarks that can be imported: ModuleNotFoundError"):
        versions.listed(root.parent)


@pytest.mark.parametrize("revision", ["gone", "--all", "HEAD~7"])
def test_an_unknown_base_is_named(root: Path, revision: str) -> None:
    with pytest.raises(InputError, match=f"^base: must be a commit, branch or tag .*{revision}"):
        revisions.resolve(root, revision)


def test_without_a_name_the_base_is_the_last_tag_or_where_the_branch_left(root: Path) -> None:
    with pytest.raises(
        InputError, match=r"^base: must be named here, .*make bench-regression BASE=<commit>$"
    ):
        revisions.resolve(root, "")
    first = git(root, "rev-parse", "HEAD")
    git(root, "update-ref", "refs/remotes/origin/main", first)
    write(root, names=("ours",), seconds=(1.0, 1.0))
    second = commit(root)
    assert revisions.resolve(root, "") == first
    git(root, "tag", "--annotate", "v1", "--message", "a")
    with pytest.raises(InputError, match=r"^base: must be named here, where v1 is the working tree itself"):
        revisions.resolve(root, "")
    write(root, names=("ours",), seconds=(2.0, 1.0))
    assert revisions.resolve(root, "") == second
    assert revisions.resolve(root, "v1") == second
    assert revisions.resolve(root, "HEAD~1") == first


def test_a_folder_without_git_and_a_machine_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match=r"^base: needs a git checkout, which the folder is not"):
        revisions.resolve(tmp_path, "HEAD")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^base: needs git, which is not installed$"):
        revisions.resolve(tmp_path, "HEAD")


def test_an_unknown_task_is_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"^tasks: is not a task of ours, got 'tow'.*did you mean 'toy'"):
        regression.run(settings(tasks=("tow",)), root)


@pytest.mark.slow
def test_the_quick_set_is_of_benchmarks_that_there_are() -> None:
    known = versions.listed(regression.ROOT)
    assert set(regression.QUICK) <= {name for name, facts in known.items() if not facts["peer"]}
    assert regression.plan(settings(tasks=None), known) == list(regression.QUICK.items())
    chosen = regression.plan(settings(tasks=("silhouette", "logging a model")), known)
    assert chosen == [
        ("logging a model/fused_clip", 5),
        ("silhouette/fused_clip", 20_000),
        ("silhouette/fused_clip, sample", 20_000),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["base=gone"], "Error: base: must be a commit, branch or tag of this checkout, got 'gone'"),
        (["pairs=4"], "Input should be greater than or equal to 5"),
    ],
)
def test_the_command_fails_with_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "experiments.benchmarks.regression",
        *arguments,
        f"hydra.run.dir={tmp_path}",
    ]
    done = subprocess.run(command, cwd=regression.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
