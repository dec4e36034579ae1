"""Each silent error is found: the named test passes on the code as it is, and fails once it is planted."""

import json
import subprocess
import sys

import pytest

from tests.attack.scale import record
from tests.attack.silent_errors import PLANTED
from tests.forks import ROOT


@pytest.fixture(scope="module")
def outcomes() -> list[tuple[str, str]]:
    """How each named test ends, without and with its error."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.attack.silent_errors"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [tuple(one) for one in json.loads(done.stdout.splitlines()[-1])]
    record("silent_errors", planted=len(found), found=found.count(("survived", "killed")))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PLANTED)), ids=[one.error.partition(":")[0] for one in PLANTED])
def test_a_silent_error_is_found(number: int, outcomes: list[tuple[str, str]]) -> None:
    assert outcomes[number] == ("survived", "killed"), PLANTED[number]
