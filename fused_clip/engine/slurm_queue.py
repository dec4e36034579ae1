"""What Slurm says of its partitions, limits and queue; it needs no accounting database."""

import re
import subprocess
from collections.abc import Sequence

from fused_clip.support.errors import InputError

ENDED = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
    "REVOKED", "TIMEOUT",
)  # fmt: skip
_SECONDS = 60.0  # until a command of Slurm must answer: without a controller some try for ever
_LIMIT = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")
_FOR_NOW = re.compile(r"not available now|nodes are busy|down, drained or reserved", re.IGNORECASE)
_UNKNOWN_JOB = "Invalid job id"
_MOST_TASKS = 1001  # Slurm's default of MaxArraySize


def line(text: str) -> str:
    """Give what Slurm complains of in one line.

    Parameters
    ----------
    text : of its standard error.
    """
    lines = [re.sub(r"^\w+: (error|fatal): ", "", one.strip()) for one in text.splitlines()]
    return "; ".join(dict.fromkeys(filter(None, lines)))[:300] or "it gave no reason"


def _called(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        rule = f"does not answer: {words[0]} took more than {_SECONDS:.0f} s"
        raise InputError("Slurm", rule) from error
    except OSError as error:
        raise InputError("Slurm", f"must be on this machine ({words[0]}: {error.strerror})") from error


def _answer(*words: str) -> str:
    done = _called(*words)
    if done.returncode:
        raise InputError("Slurm", f"does not answer ({words[0]}: {line(done.stderr)})")
    return done.stdout


def partitions() -> dict[str, float | None]:
    """Read the partitions with their time limits in minutes; None is no limit."""
    lines = [one.split() for one in _answer("sinfo", "--noheader", "--format=%R %l").splitlines()]
    return {words[0]: _minutes(words[-1]) for words in lines if words}


def _minutes(limit: str) -> float | None:
    found = _LIMIT.fullmatch(limit)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return days * 1440 + hours * 60 + minutes + seconds / 60


def max_array_size() -> int:
    """Read the most tasks that an array may have."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _answer("scontrol", "show", "config"), re.MULTILINE)
    return int(found[1]) if found else _MOST_TASKS


def refusal(flags: Sequence[str]) -> str:
    """Ask sbatch whether it would take a job; give why not, in a line, or nothing.

    Nodes that are down or busy for now are no reason: the job would wait for them.

    Parameters
    ----------
    flags : options of sbatch.
    """
    done = _called("sbatch", "--test-only", *flags, "--wrap=true")
    if not done.returncode or _FOR_NOW.search(done.stderr):
        return ""
    return line(done.stderr)


def states(arrays: Sequence[str]) -> dict[str, str]:
    """Read the state of each task of some arrays, by its id; tasks that ended some time ago are left out.

    Parameters
    ----------
    arrays : ids of the arrays.
    """
    if not arrays:
        return {}
    done = _called("squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={','.join(arrays)}")
    if done.returncode and _UNKNOWN_JOB not in done.stderr:
        raise InputError("Slurm", f"does not answer (squeue: {line(done.stderr)})")
    pairs = [one.split() for one in done.stdout.splitlines()]
    return {words[0]: words[1] for words in pairs if len(words) == 2}
