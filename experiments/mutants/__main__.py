"""Change the code, one place at a time, and see whether a test fails: ``python -m experiments.mutants``.

Mutants are drawn over the method, the metrics, the model, the store and the statistics, of each module in
proportion to its lines; ``--count 0`` tries all. The operators are mutmut's. Its own command leaves out
decorated functions, such as properties, and what stands outside of functions. So the tests are collected
here, once, and each change is made in a fork, where those tests run that reach the changed statement, but no
slow ones. Texts of messages, assertions and fields of pydantic's models are not changed.

Results are kept in ``outputs/mutants`` as they come, and are taken from there until module or test change;
without that folder all is tried anew. Counts go to ``experiments/reliability/counts.csv``. Every survivor
must stand in ``experiments/reliability/mutants.csv`` with the reason why it may live, or the command prints
its line and fails.
"""

import argparse
import csv
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from functools import cache

from experiments.mutants.mutations import Mutant, sample
from experiments.mutants.selection import KEPT, Cover, cover, test_files
from experiments.mutants.trials import ROOT, Tests, with_tests
from experiments.reliability.counts import record

EXPLAINED = ROOT / "experiments" / "reliability" / "mutants.csv"
LEAST = 0.92  # share of mutants that tests kill
_SLACK = 30.0  # seconds that tests may take beyond twenty times their time of a processor: it may be busy


def main(arguments: Sequence[str] | None = None) -> None:
    """Try the mutants; print the survivors, and fail if one isn't explained or too few are killed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=600, help="mutants; 0 for all (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (%(default)s)")
    parser.add_argument("--only", default="", help="modules whose path holds this text")
    parser.add_argument(
        "--budget", type=float, default=3.0, help="processor seconds of tests a mutant (%(default)s)"
    )
    options = parser.parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(KEPT / "hypothesis")
    os.chdir(ROOT)
    mutants = [mutant for mutant in sample(options.count, options.seed) if options.only in mutant.path]

    def tried(tests: Tests) -> int:
        results = Results(tests, cover(tests), options.budget)
        shuffled = sorted(mutants, key=lambda mutant: digest(*mutant.key))  # a part is a sample, too
        ended = {mutant.key: results.of(mutant) for mutant in shuffled}
        results.check_killers()
        return _conclude(mutants, ended, whole=not options.only)

    sys.exit(with_tests(test_files(), tried, "-m", "not slow"))


class Results:
    """How mutants ended, kept in a file as they come.

    Parameters
    ----------
    tests : the collected tests.
    known : tests of each line.
    budget : seconds of tests a mutant.
    """

    def __init__(self, tests: Tests, known: Cover, budget: float) -> None:
        self._tests, self._known, self._budget = tests, known, budget
        self._file = KEPT / "results.jsonl"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        self._kept = {record["mutant"]: record for record in map(json.loads, lines)}
        self._killers: set[str] = set()

    def of(self, mutant: Mutant) -> str:
        """Return how a mutant ends: killed, timeout, crash or survived.

        Parameters
        ----------
        mutant : the change.
        """
        name = digest(mutant.path, mutant.source)
        tests = self._known.tests(mutant, self._budget)
        before = self._kept.get(name, {"outcome": "", "by": "", "seen": {}})
        killer, seen = before["by"], before["seen"]
        if killer in self._known.seconds:
            if seen[killer] == self._version(killer):
                self._killers.add(killer)
                return str(before["outcome"])
            tests = [killer, *(test for test in tests if test != killer)]
        elif before["outcome"] in ("timeout", "crash"):
            return str(before["outcome"])
        versions = {test: self._version(test) for test in tests}
        news = [test for test in tests if seen.get(test) != versions[test]]
        ended, by = "survived", ""
        if news:
            seconds = sum(self._known.seconds[test] for test in news)
            ended, by = self._tests.outcome(news, _SLACK + 20 * seconds, mutant.path, mutant.source)
        if by:
            self._killers.add(by)
        record = {"mutant": name, "outcome": ended, "by": by, "what": mutant.key}
        record["seen"] = {by: versions[by]} if by else versions
        with self._file.open("a") as file:
            file.write(json.dumps(record) + "\n")
        return ended

    def check_killers(self) -> None:
        """Check that each test that failed on a mutant passes on the code as it is."""
        killers = sorted(self._killers)
        ended, by = self._tests.outcome(
            killers, 600.0 + 20 * sum(self._known.seconds[test] for test in killers)
        )
        if ended != "survived":
            raise SystemExit(f"{by or 'the tests'}: fails without a change")

    def _version(self, test: str) -> str:
        return _hash_of(test.partition("::")[0])


@cache
def _hash_of(file: str) -> str:
    return digest((ROOT / file).read_text("utf-8"))


def digest(*texts: str) -> str:
    """Hash texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def explained() -> dict[tuple[str, ...], str]:
    """Why survivors may live, by `Mutant.key`."""
    with EXPLAINED.open(encoding="utf-8", newline="") as file:
        return {tuple(row[:4]): row[4] for row in list(csv.reader(file))[1:]}


def _conclude(mutants: Sequence[Mutant], ended: dict[tuple[str, ...], str], *, whole: bool) -> int:
    """Print what lives, leave the counts, and return the exit code."""
    reasons = explained()
    alive = [mutant for mutant in mutants if ended[mutant.key] == "survived"]
    unknown = [mutant for mutant in alive if mutant.key not in reasons]
    csv.writer(sys.stdout).writerows([*mutant.key, ""] for mutant in unknown)
    dead = [key for key in reasons if ended.get(key, "survived") != "survived"]
    for key in dead:
        print(f"{EXPLAINED.name} explains what a test kills by now: {key}")
    killed = len(mutants) - len(alive)
    facts = {
        "mutants": len(mutants),
        "killed": killed,
        "share": round(killed / len(mutants), 4),
        "explained": len(alive) - len(unknown),
        "unexplained": len(unknown),
    }
    print(*(f"{name} {value}" for name, value in facts.items()), sep=", ")
    if whole:
        record("mutants", **facts)
    return int(bool(unknown or dead) or killed < LEAST * len(mutants))


if __name__ == "__main__":
    main()
