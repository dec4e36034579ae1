"""The examples of docs/extend.md run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = re.compile(r"^```(?:yaml|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"^# (mine/\S+\.yaml|my_\w+\.py)", re.MULTILINE)
GRIDS = [
    "{dataset: stripes}",
    "{dataset: digits, prompt: plural}",
    "{dataset: digits, text: negated}",
    "{dataset: digits, pairing: centred}",
    "{dataset: digits, fusion: product}",
    "{dataset: digits, clusterer: birch}",
    "{dataset: digits, classifier: nearest_median}",
    "{dataset: digits, reference: shuffled_text}",
]


def _write_examples(folder: Path) -> set[str]:
    """Write each example to the place that its comment names."""
    places = set()
    for body in EXAMPLE.findall((ROOT / "docs" / "extend.md").read_text(encoding="utf-8")):
        name = PLACE.search(body)
        assert name, f"names no file: {body}"
        place = folder / name[1]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(body, encoding="utf-8")
        places.add(name[1])
    return places


def test_every_group_has_an_example(tmp_path: Path) -> None:
    groups = {Path(place).parts[1] for place in _write_examples(tmp_path) if place.startswith("mine/")}
    assert groups == {
        "dataset", "backbone", "prompt", "text", "pairing", "fusion", "clusterer", "classifier", "reference",
    }  # fmt: skip


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path) -> None:
    _write_examples(tmp_path)
    words = ["figures.enabled=false", "tracking=none", "dataset.n_train=100", "dataset.n_test=40"]
    modules = ",".join(path.stem for path in tmp_path.glob("my_*.py"))
    command = [
        sys.executable,
        "-m",
        "fused_clip.run",
        "--config-dir",
        "mine",
        "--allow",
        modules,
        "-m",
        *words,
    ]
    grids = f"+hydra.sweeper.grids=[{', '.join(GRIDS)}]"
    done = subprocess.run(
        [*command, "references.draws=1", "hydra/sweeper=grids", grids],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout, done.stdout
    metrics = [path.read_text() for path in tmp_path.glob("outputs/sweeps/*/*/*/metrics.json")]
    assert len(metrics) == len(GRIDS)
    assert any("reference/shuffled_text_accuracy" in content for content in metrics)
