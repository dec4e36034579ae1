"""Is this version slower than another? `python -m experiments.benchmarks.regression base=v0.1.0`.

The base is checked out in a temporary worktree; head is the working tree. Each runs its own benchmarks, in
turn, and each run has a process. A benchmark is slower if, by elapsed or by CPU seconds, the median ratio
head / base is above 1.2 and its 90 % interval above 1, and both again in as many new pairs. Exit code: 0 if
none is slower, 1 if one is, 2 if the comparison failed.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from experiments.benchmarks import revisions
from experiments.benchmarks.measure import ROOT
from experiments.benchmarks.pairs import CLOCKS, FEWEST, Pairs, Taken
from experiments.benchmarks.versions import compile_code, listed, take
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)
#: Benchmarks of ours that take seconds each, and their sizes.
QUICK = {
    "whole script/fused_clip": 400,
    "embedding, compact/fused_clip": 1_024,
    "predicting, compact/fused_clip": 2_000,
    "neighbours/fused_clip": 20_000,
    "spectral/fused_clip, exact graph": 20_000,
    "spectral/fused_clip, approximate graph": 20_000,
    "silhouette/fused_clip": 20_000,
    "t-SNE/fused_clip": 1_000,
}
HEADER = (
    "| benchmark | n | pairs | seconds: base, head | ratio of medians, of pairs (90 % interval) "
    "| CPU seconds: base, head | ratio of medians, of pairs (90 % interval) | |"
)
_CODE = "experiments/benchmarks/*.py"


class Settings(BaseModel):
    """All keys of `conf/regression.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    tasks: tuple[str, ...] | None
    sizes: tuple[int, ...] | None
    pairs: int = Field(ge=FEWEST)


@dataclass(frozen=True)
class Row:
    """A benchmark at a size.

    Parameters
    ----------
    verdict : why it was not measured, or how it compares.
    pairs : the last runs of both; None if it was not measured.
    """

    name: str
    size: int
    verdict: str
    pairs: Pairs | None = None

    def line(self) -> str:
        """Line of the Markdown table."""
        if self.pairs is None:
            return f"| {self.name} | {self.size:,} | | | | | | {self.verdict} |"
        cells = [self.name, f"{self.size:,}", str(len(self.pairs.base))]
        for clock in CLOCKS:
            (base, head), (low, high) = self.pairs.medians(clock), self.pairs.interval(clock)
            middle = median(self.pairs.ratios(clock))
            cells.append(f"{base:.3g}, {head:.3g}")
            cells.append(f"{head / base:.2f}, {middle:.2f} ({low:.2f} to {high:.2f})")
        return f"| {' | '.join(cells)} | {self.verdict} |"


def plan(settings: Settings, known: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Choose names of benchmarks and their sizes.

    Parameters
    ----------
    settings : `tasks` and `sizes` are used.
    known : head's, from `listed`.

    Raises
    ------
    InputError
        If a task is unknown, or has none but peers.
    """
    ours = {name: facts for name, facts in known.items() if not facts["peer"]}
    tasks = list(dict.fromkeys(facts["task"] for facts in ours.values()))
    for task in settings.tasks or ():
        if task not in tasks:
            raise InputError("tasks", "is not a task of ours", task, choices=tasks)
    if settings.tasks is None:
        chosen = [name for name in QUICK if name in ours]
    else:
        chosen = [name for name, facts in ours.items() if facts["task"] in settings.tasks]
    return [
        (name, size) for name in chosen for size in settings.sizes or (QUICK.get(name, ours[name]["size"]),)
    ]


def turns(base: Path, head: Path, name: str, size: int, pairs: int) -> Pairs:
    """Run base and head in turn; who begins changes from pair to pair, so that a drift favours none.

    Parameters
    ----------
    base, head : folders of both versions.
    name : of the benchmark.
    size : rows or images.
    pairs : runs of each.
    """
    taken: dict[Path, list[Taken]] = {base: [], head: []}
    for turn in range(pairs):
        for tree in (base, head) if turn % 2 == 0 else (head, base):
            taken[tree].append(take(tree, name, size))
            log.info("%s, %d, %s: %.2f s", name, size, "head" if tree == head else "base", taken[tree][-1][0])
    return Pairs(taken[base], taken[head])


def compare(base: Path, head: Path, name: str, size: int, pairs: int) -> Row:
    """Compare both versions; what looks slower is measured again, and the new runs alone decide.

    Parameters
    ----------
    base, head, name, size, pairs : as in `turns`.
    """
    measured = turns(base, head, name, size, pairs)
    if not measured.slower():
        return Row(name, size, "", measured)
    measured = turns(base, head, name, size, pairs)
    return Row(name, size, "**slower**" if measured.slower() else "slower at first, not again", measured)


def rows(settings: Settings, base: Path, head: Path) -> Iterator[Row]:
    """Yield the chosen benchmarks of head, compared or with the reason why not.

    Parameters
    ----------
    settings : checked options.
    base, head : folders of both versions.
    """
    old, new = listed(base), listed(head)
    for tree in (base, head):
        compile_code(tree)
    for name, size in plan(settings, new):
        if name not in old:
            yield Row(name, size, "new")
        elif new[name]["missing"]:
            yield Row(name, size, f"left out: {new[name]['missing']}")
        else:
            yield compare(base, head, name, size, settings.pairs)


def run(settings: Settings, root: Path = ROOT) -> int:
    """Compare, print a Markdown table, and return the exit code: 1 if a benchmark is slower, else 0.

    Parameters
    ----------
    settings : checked options.
    root : folder of head's checkout.

    Raises
    ------
    InputError
        If the base can't be found or checked out, or a benchmark fails.
    """
    commit = revisions.resolve(root, settings.base)
    with revisions.worktree(root, commit) as base:
        measured = list(rows(settings, base, root))
    described = revisions.git(root, "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*")
    print(f"Base {commit[:10]}, head {described}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}.\n")
    print("\n".join([HEADER, "|---" * 8 + "|", *(row.line() for row in measured)]))
    if changed := revisions.git(root, "diff", "--name-only", commit, "--", _CODE):
        names = ", ".join(f"`{Path(name).name}`" for name in changed.splitlines())
        print(f"\nThe benchmarks' own code differs, so a ratio may be of other work: {names}.")
    slower = [row.name for row in measured if row.verdict == "**slower**"]
    print(f"\nSlower by more than 20 %: {', '.join(slower) or 'none'}.")
    return int(bool(slower))


@hydra.main(config_path="conf", config_name="regression", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Check the configuration, then compare."""
    try:
        code = run(Settings.model_validate(OmegaConf.to_container(cfg, resolve=True)))
    except (ValidationError, InputError) as error:
        print(f"Error: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)


if __name__ == "__main__":
    main()
