"""Runs of a few seconds that leave all their files: real digits, the compact backbone."""

from pathlib import Path

from tests.forks import completed

DIGITS = (
    "dataset=mnist_5k",
    "dataset.n_train=300",
    "dataset.n_test=60",
    "clusterer=kmeans",
    "references.enabled=false",
    "figures.enabled=false",
    "tracking=none",
)


def directory_of(output_dir: Path) -> Path:
    """Directory of the only run below an output folder."""
    (found,) = (output_dir / "runs").glob("*/*")
    return found


def small_run(root: Path, *words: str, base: tuple[str, ...] = DIGITS) -> Path:
    """Run, and give the directory of the run."""
    root.mkdir(exist_ok=True)
    done = completed(*base, f"output_dir={root}/outputs", *words, cwd=root)
    assert done.returncode == 0, done.stderr
    return directory_of(root / "outputs")
