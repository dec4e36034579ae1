"""The examples of docs/serving.md run as they stand, at another port."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fused_clip import load_model
from fused_clip.tracking import MlflowTracker
from fused_clip.tracking.answering import CONFIG
from fused_clip.tracking.asked import Asked
from tests.databases import with_database
from tests.forks import ROOT
from tests.models import save_model
from tests.records import png
from tests.results import make_result
from tests.served import mlflow_server

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_examples_run(tmp_path: Path) -> None:
    model = save_model(tmp_path / "run")
    tracker = MlflowTracker(with_database(tmp_path / "outputs"))
    with tracker.run("toy", {}, {}) as active:
        active.log(make_result(), model, [])
    colours = {"cat.jpg": "red", "dog.jpg": "blue"}
    for name, colour in colours.items():
        (tmp_path / name).write_bytes(png(colour))
    (shell,), (python,) = examples("sh"), examples("python")
    uri = f"runs:/{active.run_id}/model"
    with mlflow_server(uri, tmp_path / "log", MLFLOW_TRACKING_URI=tracker.uri) as server:
        shell, python = (text.replace(":5000/", f":{server.port}/") for text in (shell, python))
        done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=True)
        words = [sys.executable, "-c", f"{python}\nprint(json.dumps(answers))"]
        program = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = load_model(model).embed([tmp_path / name for name in colours])
    first, second = load_model(model).predict_embeddings(rows).records(top_k=2)
    assert json.loads(done.stdout)["predictions"] == [first]
    answers = json.loads(program.stdout)
    assert [row["target"] for row in answers] == [first["target"], second["target"]] == list(colours.values())


def test_the_page_names_every_option() -> None:
    (names,) = re.findall(r"^`params` are options .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", names)) == {"params", *Asked.model_fields}
    found = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", PAGE, re.MULTILINE))
    assert {name: json.loads(value) for name, value in found.items()} == CONFIG
