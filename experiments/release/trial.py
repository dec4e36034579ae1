"""Install a wheel in a fresh environment and use its commands as a user does."""

# Commands are those of the wheel.
# ruff: noqa: S603

import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterable
from importlib.metadata import PathDistribution
from pathlib import Path
from tempfile import TemporaryDirectory

from fused_clip.support.errors import InputError
from fused_clip.support.versions import version_line

RUN = ("dataset=digits", "dataset.n_train=300", "dataset.n_test=60", "clusterer=kmeans", "study=tried")
_FROM_THE_SOURCE = ("PYTHONPATH", "PYTHONSAFEPATH", "PYTHONHOME")


class Installed:
    """A wheel in an environment of its own.

    Parameters
    ----------
    folder : empty folder for the environment and for what its commands write.
    wheel : to install.
    libraries : folders whose libraries the commands may import.
    """

    def __init__(self, folder: Path, wheel: Path, libraries: Iterable[Path]) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        environment = folder / "environment"
        venv.create(environment)
        self.bin = environment / "bin"
        (self.packages,) = environment.glob("lib/python3*/site-packages")
        # A .pth inside these folders, such as that of an editable install, is not read.
        lines = "".join(f"{place}\n" for place in libraries)
        (self.packages / "libraries.pth").write_text(lines, encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--quiet"]
        subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True)
        self.env = {name: value for name, value in os.environ.items() if name not in _FROM_THE_SOURCE}

    def said(self, command: str, *words: str) -> str:
        """Run a command of the environment outside the source tree, and return its standard output.

        Parameters
        ----------
        command : name of a script of the environment.
        words : its arguments.

        Raises
        ------
        InputError
            If it fails.
        """
        start = time.monotonic()
        done = subprocess.run(
            [str(self.bin / command), *words], cwd=self.work, env=self.env, capture_output=True, text=True
        )
        if done.returncode:
            print(done.stdout + done.stderr, file=sys.stderr)
            raise InputError(command, f"must exit with 0, got {done.returncode}", " ".join(words))
        print(f"{time.monotonic() - start:5.1f} s  {command} {' '.join(words)}", flush=True)
        return done.stdout

    def scripts(self) -> list[str]:
        """Names of the commands that the wheel's metadata declare."""
        (metadata,) = self.packages.glob("fused_clip-*.dist-info")
        return sorted(
            one.name for one in PathDistribution(metadata).entry_points.select(group="console_scripts")
        )


def try_wheel(wheel: Path) -> None:
    """Install a wheel without its dependencies, and run each command once.

    Parameters
    ----------
    wheel : to try.

    Raises
    ------
    InputError
        If a command fails, or one of another installation runs.
    """
    with TemporaryDirectory(prefix="fused-clip-release-") as folder:
        libraries = [Path(place) for place in sys.path if place.endswith("-packages")]
        tried = Installed(Path(folder), wheel, libraries)
        place = tried.said("python", "-c", "import fused_clip; print(fused_clip.__file__)").strip()
        if not Path(place).is_relative_to(tried.packages):
            raise InputError("fused_clip", "must be imported from the wheel", place)
        for script in tried.scripts():
            tried.said(script, "--help")
            said = tried.said(script, "--version").strip()
            if said != version_line():
                raise InputError(f"{script} --version", f"must print {version_line()}", said)
        _use(tried)


def _use(tried: Installed) -> None:
    """Run, predict and report."""
    from PIL import Image

    tried.said("fused-clip", *RUN)
    (run,) = tried.work.glob("outputs/runs/*/*")
    Image.new("L", (32, 32), 128).save(tried.work / "grey.png")
    tried.said("fused-clip-predict", str(run), "grey.png", "--out", "answers.csv")
    tried.said("fused-clip-report", "--study", "tried")
    reports = list(tried.work.glob("outputs/reports/tried/*.html"))
    lines = (tried.work / "answers.csv").read_text(encoding="utf-8").splitlines()
    if len(lines) != 2 or not reports:
        raise InputError("fused-clip-predict, fused-clip-report", "must write a row and a page", lines)
