"""Where the time of a sweep goes: each sample counts for the innermost call that has a stage."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from experiments.benchmarks.stages import STAGES, Sampler, table


@pytest.fixture(autouse=True)
def no_timer() -> Iterator[None]:
    before = signal.getsignal(signal.SIGPROF)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def busy(file: str, inner: Callable[[], object] = lambda: None) -> Callable[[], object]:
    """A function of a file that takes a tenth of a second of processor time, and then calls another."""
    code = "def work():\n    end = clock() + .1\n    while clock() < end: pass\n    inner()\n"
    names = {"clock": time.process_time, "inner": inner}
    exec(compile(code, file, "exec"), names)
    return names["work"]  # type: ignore[return-value]


def test_time_counts_for_the_innermost_stage() -> None:
    sampler = Sampler()
    sampler.start()
    busy("/x/fused_clip/runner/cell.py", busy("/y/numpy/core.py", busy("/x/fused_clip/tracking/runs.py")))()
    busy("/y/elsewhere.py")()
    found = sampler.stop()
    assert found["cells"] == pytest.approx(0.2, abs=0.05)
    assert found["database"] == pytest.approx(0.1, abs=0.05)
    assert found["other"] > 0.05
    assert tuple(found) == STAGES


def test_the_table_has_medians() -> None:
    runs = [
        {**dict.fromkeys(STAGES, 0.0), "imports": one, "all": one, "wall": 9.0} for one in (1.0, 5.0, 2.0)
    ]
    lines = table({"cold": runs}).splitlines()
    assert lines[0] == "| CPU seconds | cold |"
    assert "| imports | 2.00 |" in lines
    assert lines[-2:] == ["| all | 2.00 |", "| wall | 9.00 |"]
