"""Which tests run which lines: measured once a test file, and kept until code or test change."""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from coverage import Coverage

from experiments.mutants.mutations import Mutant, modules
from experiments.mutants.trials import ROOT, Tests, forked

FOLDERS = ("tests/method", "tests/metrics", "tests/model", "tests/store", "tests/audit")
MORE = (
    "tests/report/studies/test_significance.py",
    "tests/report/studies/test_pairs.py",
    "tests/report/studies/test_tallies.py",
    "tests/report/studies/test_text_contribution.py",
    "tests/test_estimator.py",
    "tests/test_pipeline.py",
)
_OF_DEFAULTS = "tests/method/test_defaults.py"  # which reads signatures, and runs nothing
KEPT = ROOT / "outputs" / "mutants"
_LONGEST = 900.0  # seconds that the tests of a file may take, on a busy machine


@dataclass
class Cover:
    """Tests of each line.

    Parameters
    ----------
    seconds : of the processor, for each test by its id.
    lines : ids of the tests that run a line, by path and line.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, list[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, measured: Mapping[str, Any], wanted: Container[str]) -> None:
        """Add what was measured of a test file.

        Parameters
        ----------
        measured : as `_measured` gives it.
        wanted : ids of the tests that count.
        """
        self.seconds |= {test: spent for test, spent in measured["seconds"].items() if test in wanted}
        for path, lines in measured["lines"].items():
            for line, tests in lines.items():
                self.lines[path][int(line)] += [test for test in tests if test in wanted]

    def tests(self, mutant: Mutant, budget: float) -> list[str]:
        """Tests of a mutant: its own test modules first, then the fastest.

        Parameters
        ----------
        mutant : the change.
        budget : processor seconds that the chosen tests take together; one test is always chosen.
        """
        first, last = mutant.lines
        here = self.lines.get(mutant.path, {})
        found = {test for line in range(first, last + 1) for test in here.get(line, ())}
        if not found:  # it runs when the module is imported: all tests of its functions may see it
            found = {test for tests in here.values() for test in tests}
            own = f"/test_{Path(mutant.path).stem}.py::"
            found |= {test for test in self.seconds if test.startswith(_OF_DEFAULTS) or own in test}
        stem = Path(mutant.path).stem
        folder = str(Path(mutant.path).parent).replace("fused_clip", "tests", 1)

        def rank(test: str) -> tuple[int, float]:
            file = test.partition("::")[0]
            mirror = 0 if Path(file).stem == f"test_{stem}" else 1 if file.startswith(folder) else 2
            return mirror, self.seconds[test]

        chosen: list[str] = []
        spent = 0.0
        for test in sorted(found, key=rank):
            if chosen and spent + self.seconds[test] > budget:
                continue
            chosen.append(test)
            spent += self.seconds[test]
        return sorted(chosen, key=self.seconds.__getitem__)


def test_files() -> list[str]:
    """Paths of the test files, relative to the root."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("test_*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in [*found, *(ROOT / name for name in MORE)])


def cover(tests: Tests) -> Cover:
    """Measure the tests of each file, or read what was measured.

    Parameters
    ----------
    tests : the collected tests.
    """
    whole = Cover()
    helpers = (path for path in (ROOT / "tests").glob("*.py") if not path.name.startswith("test_"))
    shared = _hash([*sorted((ROOT / "fused_clip").rglob("*.py")), *sorted(helpers)])
    for file, found in groupby(tests, key=lambda test: test.partition("::")[0]):
        ids = list(found)
        kept = KEPT / "cover" / f"{_hash([ROOT / file], shared)}.json"
        measured = json.loads(kept.read_text()) if kept.exists() else {"seconds": {}, "lines": {}}
        missing = [test for test in ids if test not in measured["seconds"]]
        if missing:
            fresh, code = forked(partial(_measured, tests, missing), _LONGEST)
            if code != 0:
                raise SystemExit(f"{file}: its tests fail without a change, or hang")
            measured["seconds"] |= fresh["seconds"]
            for path, lines in fresh["lines"].items():
                for line, found_there in lines.items():
                    measured["lines"].setdefault(path, {}).setdefault(line, []).extend(found_there)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(measured))
        whole.add(measured, set(ids))
    return whole


def _hash(paths: Sequence[Path], salt: str = "") -> str:
    digest = hashlib.sha256(salt.encode())
    for path in paths:
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _measured(tests: Tests, ids: Sequence[str]) -> dict[str, Any]:
    paths = modules()
    measure = Coverage(data_file=None, include=[str(ROOT / path) for path in paths], config_file=False)
    ends: dict[str, float] = {}

    def before(test: str) -> None:
        ends[test] = time.process_time()
        measure.switch_context(test)

    measure.start()
    failed = tests.run(ids, before)
    measure.stop()
    if failed:
        raise SystemExit(f"{failed}: fails without a change")
    starts = [ends[test] for test in ids]
    seconds = {
        test: end - start
        for test, start, end in zip(ids, starts, [*starts[1:], time.process_time()], strict=True)
    }
    data, lines = measure.get_data(), {}
    for path in paths:
        found = data.contexts_by_lineno(str(ROOT / path))
        of_line = {str(line): [test for test in names if test] for line, names in found.items()}
        lines[path] = {line: names for line, names in of_line.items() if names}
    return {"seconds": seconds, "lines": lines}
