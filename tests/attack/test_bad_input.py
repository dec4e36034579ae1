"""Bad input, hundreds of kinds: each ends in a line that names option and value, and nothing is harmed."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.attack.bad_files import write_files
from tests.attack.bad_options import Case, found_cases
from tests.attack.bad_words import database_cases, target_cases, written_cases
from tests.attack.scale import record, tries
from tests.forks import Commands, Done

pytestmark = pytest.mark.slow
_PARTS = 8  # tests that the cases are dealt out to
_HANGS = 30.0  # seconds; 10 on a quiet machine
_SLOWEST = [0.0, ""]


class Places(NamedTuple):
    """Folder of the files that cases name, and one of what they write."""

    data: Path
    out: Path

    def fill(self, text: str) -> str:
        """Put the places into a text."""
        return text.replace("{data}", str(self.data)).replace("{out}", str(self.out))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad") / "data"
    folder.mkdir()
    write_files(folder)
    return folder


@pytest.fixture
def places(data: Path, tmp_path: Path) -> Iterator[Places]:
    before = _states(data)
    yield Places(data, tmp_path)
    assert _states(data) == before  # nothing written over, and nothing left there


def _states(folder: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in files}


def _sampled(cases: Sequence[Case], number: int) -> list[Case]:
    """Cases at equal distances."""
    return [cases[place * len(cases) // number] for place in range(min(number, len(cases)))]


FOUND = list({case.words: case for case in found_cases()}.values())  # two rules may give one value
WRITTEN = list(written_cases())
CASES = [*_sampled(FOUND, tries(40, len(FOUND))), *_sampled(WRITTEN, tries(106, len(WRITTEN)))]


def test_the_corpus_is_large_and_no_case_stands_twice() -> None:
    assert len(FOUND) + len(WRITTEN) >= 1_000
    assert len({(case.command, case.words) for case in [*FOUND, *WRITTEN]}) == len(FOUND) + len(WRITTEN)


@pytest.mark.parametrize("part", range(_PARTS))
def test_bad_input_is_refused_in_a_line(part: int, places: Places, commands: Commands) -> None:
    _refused(CASES[part::_PARTS], places, commands)
    if part == _PARTS - 1:
        record("bad_input", cases=len(CASES), wrong=0, slowest=_SLOWEST[0], slowest_case=_SLOWEST[1])


def test_targets_that_are_no_part_are_refused(places: Places, commands: Commands) -> None:
    _refused(list(target_cases()), places, commands)


def test_databases_that_are_none_are_refused(places: Places, commands: Commands) -> None:
    _refused(list(database_cases()), places, commands)


def _refused(cases: Sequence[Case], places: Places, commands: Commands) -> None:
    faults = []
    for number, case in enumerate(cases):
        own = Places(places.data, places.out / str(number))
        own.out.mkdir()
        done = _done(case, own, commands)
        if done.seconds > _SLOWEST[0]:
            _SLOWEST[:] = done.seconds, case.name
        if wrong := [*_faults(case, own, done), *_left(own.out)]:
            faults.append(f"{', '.join(wrong)}: {case.name}\n    {done.said.strip()[-500:]}")
    assert not faults, f"{len(faults)} of {len(cases)}\n" + "\n".join(faults)


def _done(case: Case, places: Places, commands: Commands) -> Done:
    words = [places.fill(word) for word in case.words]
    if case.command == "run" and not case.option.startswith("output_dir"):
        words.append(f"output_dir={places.out}/outputs")
    root = str(Path(__file__).parents[2])
    return commands(case.command, *words, cwd=places.out, env={"PYTHONPATH": root}, timeout=_HANGS)


def _faults(case: Case, places: Places, done: Done) -> Iterator[str]:
    if done.code is None:
        yield "it hangs"
    elif done.code <= 0:
        yield f"exit code {done.code}"
    if done.traceback:
        yield "a traceback"
    if places.fill(case.option) not in done.said:
        yield f"{case.option} is not named"
    if places.fill(case.value)[:60] not in done.said:
        yield f"{case.value} is not shown"


def _left(folder: Path) -> Iterator[str]:
    """What a command leaves that is half done: a run that goes on, or a draft."""
    for file in folder.rglob("*"):
        if file.suffix == ".draft":
            yield f"{file.name} is left"
        if file.suffix == ".db" and file.stat().st_size:
            with sqlite3.connect(file) as database:
                tables = database.execute("select name from sqlite_master where name = 'runs'").fetchall()
                running = (
                    tables and database.execute("select 1 from runs where status = 'RUNNING'").fetchall()
                )
            if running:
                yield "a run is left RUNNING"
