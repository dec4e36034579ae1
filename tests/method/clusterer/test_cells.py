import errno
import os
import shutil
import tempfile
from collections import namedtuple

import numpy as np
import pytest

from fused_clip.method.clusterer import cells, memory_maps
from fused_clip.method.clusterer.cell_labels import CELL_ROWS, LARGEST_CELL
from fused_clip.method.clusterer.cells import make_cells
from fused_clip.support.errors import InputError
from tests.method.clusterer.test_approximate import mixture


def restored(made, rows):
    """Rows in their order, rotated as `made` has them."""
    found = np.hstack([made.rows.lead.numpy(), made.rows.rest.float().numpy()])
    back = np.empty_like(found)
    back[made.order] = found
    return back


def test_every_row_is_in_one_cell_and_keeps_its_distances():
    rows = mixture(5_000, n_features=48)
    made = make_cells(rows, seed=0)
    np.testing.assert_array_equal(np.sort(made.order), np.arange(5_000))
    assert made.ends[0] == 0
    assert made.ends[-1] == 5_000
    assert (np.diff(made.ends) > 0).all()
    rotated = restored(made, rows)
    random = np.random.default_rng(0)
    one, other = random.integers(0, 5_000, (2, 500))
    ratio = np.linalg.norm(rotated[one] - rotated[other], axis=1) / np.linalg.norm(
        rows[one] - rows[other], axis=1
    )
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=5e-3)


def test_outliers_beyond_float16():
    rows = np.random.default_rng(0).standard_normal((30_000, 16)).astype(np.float32)
    unseen = np.setdiff1d(np.arange(30_000), np.random.default_rng(0).choice(30_000, 20_000, replace=False))
    rows[unseen[0]] *= 1e6
    made = make_cells(rows, seed=0)
    np.testing.assert_array_equal(np.sort(made.order), np.arange(30_000))


def test_rows_of_a_cell_are_near():
    rows = mixture(6_000)
    made = make_cells(rows, seed=0)
    cell = np.empty(6_000, dtype=int)
    cell[made.order] = made.cell_of_row
    means = np.array([rows[cell == one].mean(axis=0) for one in range(cell.max() + 1)])
    assert ((rows - means[cell]) ** 2).sum() < 0.7 * ((rows - rows.mean(axis=0)) ** 2).sum()


def test_a_cell_of_duplicates_is_cut():
    made = make_cells(np.ones((4_000, 8), dtype=np.float32), seed=0)
    assert np.diff(made.ends).max() <= LARGEST_CELL * CELL_ROWS


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_memory_map_gives_what_its_rows_give(mapped, dtype):
    rows = mixture(3_000, n_features=40).astype(dtype)
    there, here = (make_cells(some, seed=0) for some in (mapped(rows), rows.astype(cells_type(dtype))))
    np.testing.assert_array_equal(there.order, here.order)
    np.testing.assert_array_equal(restored(there, rows), restored(here, rows))


def cells_type(dtype):
    """The type that rows of a memory map are read as."""
    return np.float64 if dtype == np.float64 else np.float32


def test_a_scratch_file_ends_with_its_rows(mapped, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    made = make_cells(mapped(mixture(2_000, n_features=40)), seed=0)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert np.isfinite(made.rows.lead.numpy()).all()


def test_a_disk_without_room_for_the_scratch_file(mapped, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 1_000))
    with pytest.raises(InputError, match=r"TMPDIR: a scratch file of .* is needed"):
        make_cells(mapped(mixture(2_000)), seed=0)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="not on this system")
def test_a_disk_that_fills_meanwhile(mapped, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"TMPDIR: a scratch file of .* is needed"):
        make_cells(mapped(mixture(2_000)), seed=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_named(mapped, bad):
    rows = mixture(2_000)
    rows[1234, 5] = bad
    with pytest.raises(InputError, match=r"finite.*row 1234"):
        make_cells(mapped(rows), seed=0)


def test_buckets_change_nothing(mapped, monkeypatch):
    rows = mixture(5_000, n_features=48)
    monkeypatch.setattr(memory_maps, "_BLOCK_BYTES", 1 << 17)
    here = make_cells(rows, seed=0)
    monkeypatch.setattr(cells, "_BUCKET_BYTES", 1 << 16)
    assert len(cells._bucket_bounds(here.ends, 4 * 48)) > 5
    there = make_cells(mapped(rows), seed=0)
    np.testing.assert_array_equal(there.order, here.order)
    for one, other in zip((*there.rows, *there.centers), (*here.rows, *here.centers), strict=True):
        np.testing.assert_array_equal(one.float().numpy(), other.float().numpy())
