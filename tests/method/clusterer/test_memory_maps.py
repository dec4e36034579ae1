import mmap
from pathlib import Path

import numpy as np
import pytest

from fused_clip.method.clusterer.memory_maps import release


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's count of pages")
def test_pages_of_a_map_do_not_stay(mapped):
    rows = mapped(np.ones((20_000, 64), dtype=np.float32))
    assert float(rows.sum()) == rows.size
    before = resident(rows)
    release(rows[100:200])
    assert before > 5_000_000
    assert resident(rows) < 100_000


def resident(rows):
    """Bytes of a memory map that are in memory, by Linux's count."""
    start = f"{rows.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE:x}-"
    lines = Path("/proc/self/smaps").read_text().splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith(start))
    return 1024 * int(next(line for line in lines[place:] if line.startswith("Rss:")).split()[1])


def test_what_was_written_privately_stays(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((1_000, 64), dtype=np.float32))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="c")
    rows[:] = 1
    release(rows)
    assert (rows == 1).all()
