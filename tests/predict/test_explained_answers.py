"""``fused-clip-predict --explain`` as a user meets it."""

import csv
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from fused_clip import load_model
from fused_clip.dataset.embedded import read_mnist_5k
from fused_clip.predict import answers, stream
from fused_clip.predict.__main__ import main
from fused_clip.predict.explanation import Explainer
from tests.models import save_model, save_pictures
from tests.small_runs import small_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("run"), "fusion=slerp")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """75 digits, of which the command reads 64 at a time."""
    folder = tmp_path_factory.mktemp("photos")
    for number, digit in enumerate(read_mnist_5k()[0][7:4000:53][:75]):
        Image.fromarray(digit).save(folder / f"{number:02}.png")
    return folder


def predict(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        predict(*arguments)
    return str(end.value.code)


@pytest.fixture(scope="module")
def expected(run: Path, photos: Path) -> list[dict[str, object]]:
    """What the API says of all images at once."""
    model = load_model(run)
    rows = model.embed(sorted(map(str, photos.iterdir())))
    return [one.record() for one in Explainer.of(run, model).explain(rows, model.predict_embeddings(rows))]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_each_kind_of_table_has_the_explanations(
    run: Path, photos: Path, tmp_path: Path, suffix: str, expected: list[dict[str, object]]
) -> None:
    out = tmp_path / f"out.{suffix}"
    predict(run, photos, "--out", out, "--explain", "--top-k", 2)
    if suffix == "jsonl":
        rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    elif suffix == "csv":
        with out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = pd.read_parquet(out).to_dict("records")
    assert list(rows[0]) == [*answers.COLUMNS, "target_2", "probability_2", *answers.EXPLANATION]
    assert len(rows) == len(expected) == 75
    for row, said in zip(rows, expected, strict=True):
        nested = [row[name] if suffix == "jsonl" else json.loads(row[name]) for name in answers.NESTED]
        wanted = json.loads(json.dumps([said[name] for name in answers.NESTED]))
        assert [(near["id"], near["target"], near["position"]) for near in nested[0]] == [
            (near["id"], near["target"], near["position"]) for near in wanted[0]
        ]
        assert nested[1] == wanted[1]
        assert row["prompt"] == said["prompt"] == f"This is a digit {row['target']}"
        assert float(row["prompt_share"]) == pytest.approx(said["prompt_share"], abs=1e-3)
    assert len({row["prompt_share"] for row in rows}) > 50


def test_without_the_option_nothing_changes(run: Path, photos: Path, tmp_path: Path) -> None:
    predict(run, photos, "--out", tmp_path / "out.jsonl", "--gallery", tmp_path / "page.html")
    line = (tmp_path / "out.jsonl").read_text().splitlines()[0]
    assert tuple(json.loads(line)) == answers.COLUMNS
    assert "popover" not in (tmp_path / "page.html").read_text("utf-8")


def test_a_stopped_command_goes_on_with_the_same_bytes(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (run, photos, "--explain", "--out")
    predict(*arguments, tmp_path / "whole.csv")
    embedded = stream._rows

    def stop_later(*given: object) -> object:
        monkeypatch.setattr(stream, "_rows", stop)
        return embedded(*given)  # type: ignore[arg-type]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stream, "_rows", stop_later)
    with pytest.raises(SystemExit):
        predict(*arguments, tmp_path / "out.csv")
    monkeypatch.setattr(stream, "_rows", embedded)
    assert len((tmp_path / "out.csv.partial").read_text().splitlines()) == 65
    message = refused(run, photos, "--out", tmp_path / "out.csv")
    assert "partial predictions of another model, other images or other options" in message
    predict(*arguments, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_gallery_has_an_explanation_of_each_picture(
    run: Path, photos: Path, tmp_path: Path, expected: list[dict[str, object]]
) -> None:
    page = tmp_path / "page.html"
    predict(run, photos, "--out", tmp_path / "out.csv", "--gallery", page, "--explain")
    text = page.read_text("utf-8")
    assert text.count("<div popover") == 75
    assert text.count('<ol class="near">') == 75
    near = {one["id"] for said in expected for one in said["neighbors"]}  # type: ignore[attr-defined]
    assert {one for one in near if f'alt="{one}"' in text} == near


@pytest.mark.parametrize("what", ["pictures", "store"])
def test_pictures_that_are_gone_do_not_fail_and_a_store_that_is_gone_does(
    run: Path, photos: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a config's output_dir is elsewhere
    outputs = tmp_path / "elsewhere"
    shutil.copytree(run.parents[2], outputs)
    copy = outputs / run.relative_to(run.parents[2])
    text = (copy / "config.yaml").read_text().replace(str(run.parents[2]), "gone")
    (copy / "config.yaml").write_text(
        text.replace("fused_clip.dataset.mnist_5k", "fused_clip.dataset.digits")
    )
    (copy / "SHA256SUMS").unlink()
    arguments = (
        copy,
        photos,
        "--explain",
        "--out",
        tmp_path / "out.csv",
        "--gallery",
        tmp_path / "page.html",
    )
    if what == "pictures":
        predict(*arguments)
        text = (tmp_path / "page.html").read_text("utf-8")
        assert text.count("<div popover") == 75
        assert 'alt="mnist_5k' not in text
        return
    shutil.rmtree(outputs / "store")
    monkeypatch.setattr(stream, "_rows", None)  # nothing is embedded
    message = refused(*arguments)
    assert message.startswith("Error: explain: needs the embeddings of the run's training images")
    assert not (tmp_path / "out.csv.partial").exists()


def test_a_model_without_its_run_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, photos = save_model(tmp_path / "bare"), save_pictures(tmp_path / "photos", 3)
    monkeypatch.setattr("fused_clip.predict.__main__._load", None)
    for place in (model, "runs:/abc/model", "models:/pets/1"):
        message = refused(place, photos, "--out", tmp_path / "out.csv", "--explain")
        assert message.startswith("Error: explain: needs the directory of a run")
        assert message.endswith("Give a directory such as outputs/latest")


def test_a_transductive_model_has_neighbors_and_no_share(photos: Path, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", "classifier=stata")
    predict(run, photos, "--out", tmp_path / "out.jsonl", "--explain")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {len(row["neighbors"]) for row in rows} == {3}
    assert {(row["prompt_share"], tuple(row["composition"])) for row in rows} == {(None, ())}
    assert all(row["prompt"] == f"This is a digit {row['target']}" for row in rows)


def test_constraints_are_explained(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map.yaml").write_text("low: ['0', '1', '2']\n")
    words = ("--targets", "0,1,2,7", "--target-map", tmp_path / "map.yaml", "--explain")
    predict(run, photos, "--out", tmp_path / "out.jsonl", *words)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    low = {row["prompt"] for row in rows if row["target"] == "low"}
    assert low <= {f"This is a digit {number}" for number in range(3)}
    assert len(low) > 1
    assert {row["prompt"] for row in rows if row["target"] == "7"} == {"This is a digit 7"}


def test_help_names_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        predict("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "--explain neighbors, composition, prompt, prompt_share" in text
