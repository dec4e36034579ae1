"""Curves of a run as a table, and back."""

import csv
import dataclasses
from pathlib import Path

import pytest

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.metrics.curve import Curve
from fused_clip.runner import artifacts
from fused_clip.runner.curve_table import read_curves, write_curves
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.test_pipeline import run

CURVES = (
    Curve("a", "Title, with a comma", "x", "y", (1.0, 2.0), {"one": (0.25, 0.5), "two": (1.0, 0.0)}),
    Curve("b", 'The "second"', "C", "accuracy", (1e-06, 1000.0), {"one": (0.123456, 2e-07)}, 1000.0),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_curves(CURVES, tmp_path / "curves.csv")
    assert read_curves((tmp_path / "curves.csv").read_bytes(), tmp_path) == CURVES
    rows = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
    assert len(rows) == 6
    assert (rows[-1]["curve"], rows[-1]["x"], rows[-1]["y"], rows[-1]["chosen"]) == (
        "b",
        "1000",
        "2e-07",
        "1000",
    )


def test_without_curves_there_is_no_file(tmp_path: Path) -> None:
    write_curves((), tmp_path / "curves.csv")
    assert not list(tmp_path.iterdir())


def test_digits_that_threads_may_change_are_left_out(tmp_path: Path) -> None:
    write_curves([Curve("a", "t", "x", "y", (1.0,), {"one": (1 / 3,)})], tmp_path / "curves.csv")
    (curve,) = read_curves((tmp_path / "curves.csv").read_bytes(), tmp_path)
    assert curve.series["one"] == (0.333333,)


def test_a_run_keeps_how_its_number_of_clusters_was_chosen(
    toy: ImageDataset, blobs: Blobs, tmp_path: Path
) -> None:
    result = run(toy, blobs, references=(), clusters_per_target="auto")
    (curve,) = result.curves
    assert curve.chosen == result.metrics["chosen/clusters_per_target"]
    assert result.metrics["n_clusters"] == 3 * curve.chosen
    artifacts.write(result, tmp_path, seed=0, embeddings="fused")
    artifacts.write_metrics(result, tmp_path)
    (again,) = artifacts.read(tmp_path, tmp_path / "store").curves
    assert dataclasses.replace(again, series=curve.series) == curve
    assert "chosen/clusters_per_target" not in run(toy, blobs, references=()).metrics


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"curve,", b""), (b",1,0.333333", b",one,0.333333"), (b",1,0.333333", b",1"), (b"a,t", b"\xff,t")],
    ids=range(4),
)
def test_damaged_curves_are_refused_with_their_path(old: bytes, new: bytes, tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    write_curves([Curve("a", "t", "x", "y", (1.0,), {"one": (1 / 3,)})], path)
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(InputError, match=r"curves: must be .*curves\.csv"):
        read_curves(path.read_bytes(), path)
