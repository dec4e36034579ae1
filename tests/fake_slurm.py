"""Programs that stand for Slurm's where it is not installed: they note each call, and run tasks here.

Files in the folder of the programs say what they answer: ``refuse`` (the complaint of sbatch), ``down`` (the
controller does not answer), ``hold`` (tasks wait for ever), ``queue`` (lines of squeue).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("sbatch", "srun", "squeue", "sinfo", "scontrol")


def install(folder: Path) -> Path:
    """Write the programs into a folder, which is to stand first on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {__file__} {name} "$@"\n')
        program.chmod(0o755)
    return folder


def path_with(folder: Path) -> str:
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"


def _value(text: str, name: str) -> str:
    found = re.search(rf"^#SBATCH --{name}=(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def _sbatch(folder: Path, words: list[str]) -> int:
    if (folder / "refuse").exists():
        print((folder / "refuse").read_text(), file=sys.stderr)
        return 1
    if "--test-only" in words:
        return 0
    script = Path(words[-1])
    text = script.read_text()
    job = 10 + len(list(folder.glob("job-*")))
    (folder / f"job-{job}").write_text(text)
    tasks = range(int(_value(text, "array").partition("%")[0].partition("-")[2] or 0) + 1)
    single = not _value(text, "array")
    ids = [str(job) if single else f"{job}_{task}" for task in tasks]
    print(f"Submitted batch job {job}")
    if (folder / "hold").exists():
        (folder / "queue").write_text("".join(f"{one} PENDING\n" for one in ids))
        return 0
    for task, own in zip(tasks, ids, strict=True):
        name = {"SLURM_JOB_ID": str(job)} if single else {
            "SLURM_JOB_ID": str(job), "SLURM_ARRAY_JOB_ID": str(job), "SLURM_ARRAY_TASK_ID": str(task),
        }  # fmt: skip
        log = (folder / f"task-{own}.log").open("wb")
        done = subprocess.Popen(
            ["sh", str(folder / f"job-{job}")], env={**os.environ, **name}, stdout=log, stderr=log
        )
        (folder / f"pid-{own}").write_text(str(done.pid))
    return 0


def _running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _squeue(folder: Path, words: list[str]) -> int:
    asked = [word.partition("=")[2].split(",") for word in words if word.startswith("--jobs=")]
    if (folder / "queue").exists():
        print((folder / "queue").read_text(), end="")
        return 0
    for path in sorted(folder.glob("pid-*")):
        own = path.name.removeprefix("pid-")
        if own.partition("_")[0] in asked[0] and _running(path.read_text()):
            print(own, "RUNNING")
    return 0


def main() -> int:
    program, words = sys.argv[1], sys.argv[2:]
    folder = Path(next(one for one in os.environ["PATH"].split(os.pathsep) if (Path(one) / "sinfo").exists()))
    with (folder / "calls").open("a") as calls:
        calls.write(f"{program} {' '.join(words)}\n")
    if (folder / "down").exists() and program != "srun":
        print(f"{program}: error: Unable to contact slurm controller (connect failure)", file=sys.stderr)
        return 1
    if program == "sinfo":
        print("cpu infinite\nshort 1:00\nlong 2-00:30:00")
    elif program == "scontrol":
        print("Configuration data\nMaxArraySize            = 200\nMaxJobCount             = 20000")
    elif program == "squeue":
        return _squeue(folder, words)
    elif program == "sbatch":
        return _sbatch(folder, words)
    else:
        start = next(index for index, word in enumerate(words) if Path(word).name.startswith("python"))
        return subprocess.call(words[start:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
