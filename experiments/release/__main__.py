"""Build wheel and sdist into ``dist/``, check them, and try the wheel: ``python -m experiments.release``.

The wheel is built twice, from the sdist and from the source tree: both must be the same, byte for byte.
It must have every file of the package and nothing else. Then it is installed in a fresh environment,
which sees the libraries of this one, and its commands run outside the source tree.
"""

# Commands are those of this file.
# ruff: noqa: S603

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.release import ROOT
from experiments.release.contents import (
    differences,
    expected_in_sdist,
    expected_in_wheel,
    files_of_sdist,
    files_of_wheel,
)
from experiments.release.trial import try_wheel
from fused_clip.support.errors import InputError
from fused_clip.support.versions import PACKAGE, own_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 1 if a check fails.

    Parameters
    ----------
    arguments : words of the command line; None takes those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.release", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder that is made anew (dist/)")
    parser.add_argument("--without-trial", action="store_true", help="build and check, run no command")
    args = parser.parse_args(arguments)
    try:
        wheel = _made(args.out)
        if not args.without_trial:
            try_wheel(wheel)
    except (InputError, subprocess.CalledProcessError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _made(out: Path) -> Path:
    """Build both files and check them; return the wheel."""
    shutil.rmtree(out, ignore_errors=True)
    _python("build", "--outdir", str(out), str(ROOT))  # the sdist, and the wheel from it
    wheel = out / f"{PACKAGE}-{own_version()}-py3-none-any.whl"
    sdist = out / f"{PACKAGE}-{own_version()}.tar.gz"
    found = sorted(path.name for path in out.iterdir())
    if found != sorted((wheel.name, sdist.name)):
        raise InputError("version", f"must be {own_version()} in the names of both files", found)
    _same_from_the_tree(wheel)
    wrong = differences(files_of_wheel(wheel), expected_in_wheel())
    wrong += differences(files_of_sdist(sdist), expected_in_sdist())
    if wrong:
        raise InputError("contents", "wheel and sdist must have every file of the package alone", wrong)
    _python("twine", "check", "--strict", str(wheel), str(sdist))
    _python("check_wheel_contents", "--config", str(ROOT / "pyproject.toml"), str(wheel))
    for path in (wheel, sdist):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB", flush=True)
    return wheel


def _same_from_the_tree(wheel: Path) -> None:
    with TemporaryDirectory() as folder:
        _python("build", "--wheel", "--outdir", folder, str(ROOT))
        (other,) = Path(folder).iterdir()
        if other.name != wheel.name or other.read_bytes() != wheel.read_bytes():
            raise InputError(
                "sdist",
                "must give the wheel of the source tree",
                sorted(differences(files_of_wheel(wheel), files_of_wheel(other))),
                hint="See tool.hatch.build in pyproject.toml",
            )


def _python(module: str, *words: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        done.check_returncode()


if __name__ == "__main__":
    sys.exit(main())
