"""The template of a package of options: built, installed, used, tested and taken away."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fake_slurm
from tests.databases import with_database
from tests.forks import shared
from tests.installing import install

ROOT = Path(__file__).parents[1]
QUICK = ["dataset=digits", "dataset.n_train=100", "dataset.n_test=40", "figures.enabled=false"]
WORDS = [*QUICK, "clusterer=bisecting_kmeans", "prompt=media", "classifier=trimmed_mean"]
PIXELS = ["backbone._target_=tests.fakes.PixelBackbone", "allow=[tests]"]
OWN = "# k-means of mine.\n_target_: sklearn.cluster.KMeans\n"
LOAD = (
    "import sys, fused_clip\n"
    "try: print(type(fused_clip.load_model(sys.argv[1], embeddings_only=True).head.classifier).__module__)\n"
    "except fused_clip.InputError as error: print(error)"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not importlib.util.find_spec("hatchling"), reason="hatchling builds it: .[dev] has it"
    ),
]


def called(*words: str | Path, cwd: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python, with packages that are installed into a folder."""
    path = [str(place) for place in (site, ROOT) if place] + os.environ.get("PYTHONPATH", "").split(
        os.pathsep
    )
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def forked(
    *words: str | Path, cwd: Path, site: Path | None = None, command: str = "run", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a fork of the warm process, with packages that are installed into a folder."""
    path = [str(place) for place in (site, ROOT) if place]
    done = shared()(
        command,
        *words,
        cwd=cwd,
        env={**env, "PYTHONPATH": os.pathsep.join(path)},
        before=[("tests.forks:add_site", [str(site)])] if site else [],
        timeout=600,
    )
    assert done.code is not None, f"it hung: {done.said}"
    return subprocess.CompletedProcess(words, done.code, done.out, done.err)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template: building leaves the checkout as it is."""
    return Path(shutil.copytree(ROOT / "examples" / "plugin", tmp_path_factory.mktemp("source") / "plugin"))


@pytest.fixture(scope="module")
def site(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the template's wheel is installed."""
    place = tmp_path_factory.mktemp("site")
    quiet = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = called("-m", "pip", "install", *quiet, "--target", place, source, cwd=place)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in place.iterdir()} == {"my_options", "my_options-0.1.0.dist-info"}
    return place


@pytest.fixture(scope="module")
def finished(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a run with its options has finished."""
    folder = tmp_path_factory.mktemp("run")
    with_database(folder / "outputs")
    done = forked(*WORDS, cwd=folder, site=site)
    assert done.returncode == 0, done.stderr
    assert "trimmed means" in done.stdout
    return folder


def test_its_options_are_listed(site: Path, tmp_path: Path) -> None:
    shown = forked("--help", cwd=tmp_path, site=site)
    assert not shown.stderr
    for group, name in (
        ("clusterer", "bisecting_kmeans"),
        ("prompt", "media"),
        ("classifier", "trimmed_mean"),
    ):
        assert any(line.startswith(f"{group}: ") and name in line for line in shown.stdout.splitlines())
    said = forked("--version", cwd=tmp_path, site=site).stdout
    assert said.endswith(", with my-options 0.1.0\n")
    assert said == forked("--version", cwd=tmp_path, site=site, command="report").stdout
    wrong = forked("classifier=trimed_mean", cwd=tmp_path, site=site)
    assert "\ttrimmed_mean\n" in wrong.stderr


def test_a_run_with_its_options_describes_itself(finished: Path) -> None:
    (result,) = finished.glob("outputs/runs/*/*/result.json")
    tags = json.loads(result.read_text())["tags"]
    assert tags["plugin.my-options"] == "0.1.0"
    assert tags["classifier"] == "trimmed_mean"
    metrics = json.loads(result.with_name("metrics.json").read_text())
    assert metrics["reference/trimmed_means_accuracy"] == metrics["test/accuracy"]


def test_its_model_is_loaded_with_the_installed_class(finished: Path, site: Path) -> None:
    (model,) = finished.glob("outputs/runs/*/*/model")
    assert forked(LOAD, model, cwd=finished, site=site, command="python").stdout == "my_options.classifiers\n"
    (line,) = forked(LOAD, model, cwd=finished, command="python").stdout.splitlines()
    assert "needs the classifier my_options.classifiers:TrimmedMean, which is no classifier of" in line
    assert "Install my-options 0.1.0, or pass its class" in line


def test_a_finished_run_is_found_until_the_package_changes(
    finished: Path, site: Path, tmp_path: Path
) -> None:
    words = [*WORDS, "resume=true"]
    again = forked(*words, cwd=finished, site=site)
    assert "This run is finished already" in again.stdout, again.stderr
    changed = Path(shutil.copytree(site, tmp_path / "site"))
    (changed / "my_options" / "helpers.py").write_text("WIDTH = 2\n")
    other = forked(*words, cwd=finished, site=changed)
    assert other.returncode == 0
    assert "This run is finished already" not in other.stdout


@pytest.mark.parametrize("launcher", ["joblib", "slurm"])
def test_sweeps_of_other_processes_have_its_options(launcher: str, site: Path, tmp_path: Path) -> None:
    more, path = ["tracking=none", "hydra.launcher.n_jobs=2"], os.environ["PATH"]
    if launcher == "slurm":
        pytest.importorskip("submitit")
        path = fake_slurm.path_with(fake_slurm.install(tmp_path / "bin"))
        with_database(tmp_path / "outputs")
        more = ["hydra.launcher.wait=true", "hydra.launcher.tasks=1"]
    words = ["-m", "classifier=trimmed_mean,knn", f"hydra/launcher={launcher}", *more, *QUICK, *PIXELS]
    done = forked(*words, "references.enabled=false", cwd=tmp_path, site=site, PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("outputs/sweeps/*/*/*/metrics.json"))) == 2, done.stdout + done.stderr


def test_a_sweep_of_a_notebook_has_its_options(site: Path, tmp_path: Path) -> None:
    words = ["classifier=trimmed_mean,knn", "references.enabled=false", "tracking=none", *QUICK]
    code = f"import fused_clip; print(len(fused_clip.sweep(*{words!r})['test/accuracy'].dropna()))"
    done = forked(code, cwd=tmp_path, site=site, command="python")
    assert done.stdout.splitlines()[-1] == "2", done.stderr


def test_its_own_tests_pass(site: Path, source: Path) -> None:
    done = called("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=source, site=site)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_what_is_left_when_it_is_uninstalled(finished: Path) -> None:
    """The report of its runs, and a line about the option."""
    done = forked("--study", "default", cwd=finished, command="report")
    assert done.returncode == 0, done.stderr
    page = (finished / "outputs/reports/default/report.md").read_text()
    assert "nearest mean of the training images of each target without the farthest fifth" in page
    refused = forked(*WORDS, cwd=finished)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "Could not find" in refused.stderr


def test_a_broken_plugin_is_named_in_a_line_and_left_out(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, {"conf/clusterer/theirs.yaml": OWN}, value="no_such_package")
    done = forked("--help", cwd=tmp_path, site=site)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("Warning: plugin 'their-options' of their-options: its package must be importable")
    words = [*QUICK, "references.enabled=false", "tracking=none"]
    run = forked(*words, cwd=tmp_path, site=site)
    assert run.returncode == 0, run.stderr


def test_a_plugin_that_clashes_is_refused_in_a_line(site: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(site, tmp_path / "site"))
    install(other, {"conf/clusterer/bisecting_kmeans.yaml": OWN})
    for words in (["--help"], QUICK, ["-m", "seed=1,2"]):
        done = forked(*words, cwd=tmp_path, site=other)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: clusterer: is an option of my-options 0.1.0 and of their-options 1.2")
        assert "pip uninstall their-options" in line


def test_a_part_that_can_not_be_imported_is_named_in_a_line(tmp_path: Path) -> None:
    site = tmp_path / "site"
    yaml = "# Theirs.\n_target_: their_options.parts.part\n_partial_: true\n"
    install(site, {"conf/fusion/theirs.yaml": yaml, "__init__.py": "import no_such_library"})
    done = forked(*QUICK, "fusion=theirs", "tracking=none", cwd=tmp_path, site=site)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Error: fusion._target_: must name something importable" in done.stderr
    assert "no_such_library" in done.stderr


def test_options_of_the_users_folder_go_before_its_own(site: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "clusterer"
    mine.mkdir(parents=True)
    (mine / "bisecting_kmeans.yaml").write_text("_target_: sklearn.cluster.BisectingKMeans\nmax_iter: 7\n")
    words = ["--config-dir", "mine", "clusterer=bisecting_kmeans", "--cfg", "job"]
    shown = forked(*words, cwd=tmp_path, site=site)
    assert "max_iter: 7" in shown.stdout
