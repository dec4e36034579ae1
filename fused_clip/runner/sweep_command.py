"""Look after a sweep that Slurm runs: ``fused-clip-sweep status|collect|resubmit DIR``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fused_clip.engine.submissions import queued, state_of, submitted, submitted_options
from fused_clip.runner.shares import ShareCounts, SharedSweep, count_cells, read_cells, run_share
from fused_clip.runner.submitted import engine_folder, is_submitted, owner
from fused_clip.support.command import make_parser, one_line_errors
from fused_clip.support.errors import InputError
from fused_clip.support.files import locked
from fused_clip.support.machine import KEPT

_LOCK = ".sweep_command.lock"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give 0, or 1 if `collect` finds that a cell has failed or is missing.

    Parameters
    ----------
    arguments : words after the command; those of the process by default.
    """
    with one_line_errors(f"{KEPT}.", KEPT):
        options = _parser().parse_args(arguments)
        directory = options.directory.absolute()
        sweep = read_cells(directory)
        if not is_submitted(directory):
            rule = "must be the directory of a sweep that was submitted to Slurm"
            raise InputError("directory", rule, str(directory))
        if options.command == "status":
            return _status(directory)
        with locked(directory / _LOCK, what=str(directory), option="directory"):
            if options.command == "collect":
                return _collect(directory, sweep)
            return _resubmit(directory, sweep, _overrides(options.options))


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("fused-clip-sweep", "Look after a sweep that Slurm runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="count finished, running, pending, failed and missing cells")
    collect = commands.add_parser(
        "collect",
        help="end the sweep and print its table; exit code 1 while cells are missing or have failed",
    )
    resubmit = commands.add_parser("resubmit", help="submit the tasks of missing and failed cells again")
    for command in (status, collect, resubmit):
        command.add_argument("directory", type=Path, metavar="DIR", help="of the sweep, as it was printed")
    resubmit.add_argument(
        "options", nargs="*", metavar="KEY=VALUE", help="in place of those before, such as minutes=120"
    )
    return parser


def _overrides(words: Sequence[str]) -> dict[str, Any]:
    """Options of the array that a command line changes, as Hydra reads them."""
    import yaml

    from fused_clip.engine.slurm_array import SlurmArray

    found = {}
    for word in words:
        key, equals, value = word.removeprefix("hydra.launcher.").partition("=")
        if not equals or key not in SlurmArray.model_fields:
            choices = sorted(SlurmArray.model_fields)
            raise InputError("KEY=VALUE", "must set an option of the array", word, choices=choices)
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(key, "must be YAML", value) from error
    return found


def _status(directory: Path) -> int:
    counts, said = count_cells(directory), queued(engine_folder(directory))
    _print_counts(counts, said)
    jobs = submitted(engine_folder(directory))
    for one in counts:
        state = said.get(one.number, "")
        parts = [f"{number} {name}" for name, number in _by_state(one, state).items() if number]
        line = f"share {one.number:>4}  {jobs.get(one.number, ''):>12}  {state.lower() or 'ended':<10}"
        log = engine_folder(directory) / f"{jobs.get(one.number)}_0_log.err"
        shown = f"  log: {log}" if state_of(state) == "gone" and not one.done and log.is_file() else ""
        print(f"{line}  {', '.join(parts)}{shown}")
    return 0


def _by_state(one: ShareCounts, said: str) -> dict[str, int]:
    """Cells of a share by their state, which is that of their task for those without a record."""
    state, open_cells = state_of(said), one.begun + one.missing
    running = one.begun if state == "running" else 0
    return {
        "finished": one.finished,
        "running": running,
        "pending": open_cells - running if state != "gone" else 0,
        "failed": one.failed,
        "missing": open_cells if state == "gone" else 0,
    }


def _print_counts(counts: Sequence[ShareCounts], said: dict[int, str]) -> None:
    each = [_by_state(one, said.get(one.number, "")) for one in counts]
    total = {name: sum(one[name] for one in each) for name in each[0]}
    parts = [f"{number} {name}" for name, number in total.items()]
    print(f"{sum(total.values())} cells in {len(counts)} shares: {', '.join(parts)}")


def _in_queue(counts: Sequence[ShareCounts], said: dict[int, str]) -> list[int]:
    """Shares with cells that are not finished, and whose task waits or runs."""
    return [one.number for one in counts if not one.done and state_of(said.get(one.number, "")) != "gone"]


def _collect(directory: Path, sweep: SharedSweep) -> int:
    counts, said = count_cells(directory), queued(engine_folder(directory))
    if _in_queue(counts, said):
        _print_counts(counts, said)
        print(f"It still runs as {owner(directory)}, and stays open. Collect it when its tasks have ended.")
        return 1
    with _opened(directory, sweep) as opened:
        opened.tracker.close_left(sweep.sweep_id, sweep.parent)
        failed = opened.end(closed=opened.tracker.has_finished(sweep.parent))
    left = sum(one.failed + one.begun + one.missing for one in counts)
    if left:
        command = f"fused-clip-sweep resubmit {shlex.quote(str(directory))}"
        print(f"{left} cells failed or are missing. Run them: {command}")
    return int(failed or left > 0)


def _resubmit(directory: Path, sweep: SharedSweep, overrides: dict[str, Any]) -> int:
    from fused_clip.engine.slurm_array import SlurmArray

    folder = engine_folder(directory)
    counts, said = count_cells(directory), queued(folder)
    numbers = [one.number for one in counts if not one.done]
    if busy := _in_queue(counts, said):
        jobs = submitted(folder)
        rule = f"has {len(busy)} tasks in the queue of Slurm ({', '.join(jobs[one] for one in busy[:5])})"
        hint = "Wait for them, or end them with scancel"
        raise InputError("directory", rule, str(directory), hint=hint)
    if not numbers:
        print("All cells are finished: nothing is left to submit.")
        return 0
    array = SlurmArray.of({**submitted_options(folder), **overrides})
    array.check(len(numbers))
    with _opened(directory, sweep) as opened:
        opened.tracker.close_left(sweep.sweep_id, sweep.parent)
        array.submit(partial(run_share, str(directory)), numbers, folder, "fused_clip")
        opened.leave()
    return 0


@contextmanager
def _opened(directory: Path, sweep: SharedSweep) -> Iterator[Any]:
    """Open a sweep as its own command had it, in its working directory."""
    from fused_clip.runner.sweep import Sweep

    with sweep.composed(directory) as config:
        yield Sweep.reopen(config, sweep)


if __name__ == "__main__":
    sys.exit(main())
