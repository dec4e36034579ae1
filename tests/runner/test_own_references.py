"""References from a user's folder, on the command line."""

import json
from pathlib import Path

import pandas as pd
import pytest

from fused_clip.support.conf import conf_dir
from tests.forks import completed
from tests.test_run import run_directories

OWN = """# @package reference.joined
# Image and text one after the other.
title: joined
explanation: the run with image and text one after the other
uses_labels: as the run
when: text
replace: {fusion: concatenation}
"""
CELL = ["dataset=digits", "dataset.n_train=200", "dataset.n_test=100", "clusterer=kmeans"]
CELL += ["figures.enabled=false", "tracking=none", "resume=true", "references.draws=1"]


def references_in(directory: Path) -> set[str]:
    """Names of references among the columns of predictions, which are those of the metrics."""
    table = pd.read_parquet(directory / "predictions.parquet")
    columns = {name.removeprefix("reference/") for name in table if name.startswith("reference/")}
    metrics = json.loads((directory / "metrics.json").read_text())
    suffix = "_accuracy"
    measured = {name for name in metrics if name.startswith("reference/") and name.endswith(suffix)}
    assert {f"reference/{name}{suffix}" for name in columns} == measured
    return columns


@pytest.mark.slow
def test_a_reference_of_ones_own_needs_a_yaml_alone(tmp_path: Path) -> None:
    (tmp_path / "mine" / "reference").mkdir(parents=True)
    (tmp_path / "mine" / "reference" / "joined.yaml").write_text(OWN)
    chosen = [*CELL, "reference=[zero_shot,linear_probe]"]
    mine = ["--config-dir", "mine", *CELL]

    done = completed(*chosen, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (first,) = run_directories(tmp_path)
    assert references_in(first) == {"zero_shot", "linear_probe"}

    done = completed(*mine, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "is finished already" not in done.stdout, "the first lacks most references"
    (second,) = set(run_directories(tmp_path)) - {first}
    apply = {path.stem for path in conf_dir().glob("reference/*.yaml")}
    apply -= {"zero_shot_via_class", "kmeans_hungarian", "image_only_hungarian"}
    assert references_in(second) == apply | {"joined"}

    for again, directory in ((mine, second), (chosen, second)):
        done = completed(*again, cwd=tmp_path)
        assert f"This run is finished already: {directory}" in done.stdout, done.stdout + done.stderr

    (tmp_path / "mine" / "reference" / "joined.yaml").write_text(OWN.replace("concatenation", "weighted"))
    done = completed(*mine, cwd=tmp_path)
    assert "is finished already" not in done.stdout, "another reference of the same name"
    assert len(run_directories(tmp_path)) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OWN.replace("concatenation", "glue"), "reference.joined.replace.fusion: must be an option of the"),
        (OWN.replace("as the run", "maybe"), "reference.joined"),
    ],
)
def test_a_wrong_yaml_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "mine" / "reference").mkdir(parents=True)
    (tmp_path / "mine" / "reference" / "joined.yaml").write_text(content)
    done = completed("--config-dir", "mine", *CELL, cwd=tmp_path)
    assert done.returncode == 1
    assert f"Error: {message}" in done.stderr
    assert "Traceback" not in done.stderr
