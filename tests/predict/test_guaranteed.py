"""``fused-clip-predict --coverage --unknown``: what the table, the page and the terminal say."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from fused_clip import load_model
from fused_clip.guarantee import Guarantee
from fused_clip.method.classifier import StatA
from fused_clip.predict.__main__ import main
from fused_clip.predict.shift_sample import ShiftSample, sampled_rows
from tests.models import NAMES, save_model, save_pictures
from tests.predict.test_command_line import predict, refused, rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("run"), held_out=120)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("photos") / "own", 60)


@pytest.fixture(scope="module")
def negatives(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("negatives")
    for path in photos.rglob("*.png"):
        ImageOps.invert(Image.open(path)).save(folder / path.name)
    return folder


def test_each_image_has_a_set_that_python_gives_too(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in ("csv", "parquet", "jsonl"):
        predict(model, photos, "--out", tmp_path / f"out.{suffix}", "--coverage", ".8", "--unknown", ".1")
    said = capsys.readouterr().out
    frame = pd.read_parquet(tmp_path / "out.parquet")
    loaded = load_model(model)
    answered = Guarantee.of(loaded, 0.8, unknown=0.1).answer(loaded.embed(frame["path"].tolist()))
    records = list(answered.records())
    assert [list(names) for names in frame["set"]] == [record["set"] for record in records]
    assert frame["unknown"].tolist() == [record["unknown"] for record in records]
    assert set(frame["guarantee"]) == {"0.8"}
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    texts = rows(tmp_path / "out.csv")
    for record, line, text in zip(records, lines, texts, strict=True):
        assert line["set"] == record["set"]
        assert text["set"] == "|".join(record["set"])
        assert int(text["set_size"]) == line["set_size"] == len(record["set"])
    sizes = frame["set_size"]
    counts = f"{(sizes == 1).sum()} with one target, {(sizes > 1).sum()} with several"
    assert f"Sets: {counts}, {(sizes == 0).sum()} empty. Coverage 0.8." in said
    assert f"{frame['unknown'].sum()} images are called unknown." in said
    assert "60 images against 120 calibration images" in said
    assert "WITHDRAWN" not in said


def test_other_images_withdraw_the_guarantee_in_every_row(
    model: Path, negatives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    options = ("--coverage", ".8", "--coverage-per", "target", "--gallery", page)
    predict(model, negatives, "--out", tmp_path / "out.csv", *options)
    assert {row["guarantee"] for row in rows(tmp_path / "out.csv")} == {"withdrawn"}
    said = capsys.readouterr().out
    assert "p = 0.0005" in said
    assert "GUARANTEE WITHDRAWN: these images differ from the calibration images" in said
    assert "GUARANTEE WITHDRAWN" in page.read_text("utf-8")


def test_a_stopped_command_continues_to_the_same_bytes(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--coverage", ".8", "--unknown", ".2")
    predict(model, photos, "--out", tmp_path / "whole.csv", *options)
    encode, batches = type(load_model(model).require_backbone()).encode_prepared, []

    def stops(self: object, prepared: object) -> object:
        batches.append(1)
        if len(batches) == 4:
            raise KeyboardInterrupt
        return encode(self, prepared)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr("fused_clip.backbone.OpenClipBackbone.encode_prepared", stops)
        with pytest.raises(SystemExit):
            predict(model, photos, "--out", tmp_path / "parts.csv", *options)
    assert (tmp_path / "parts.csv.partial").exists()
    predict(model, photos, "--out", tmp_path / "parts.csv", *options)
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_an_unreadable_image_has_no_set(model: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    places = (photos, tmp_path / "bad.png")
    predict(model, *places, "--out", tmp_path / "o.jsonl", "--coverage", ".8", "--on-bad-image", "report")
    (bad,) = (
        line
        for line in map(json.loads, (tmp_path / "o.jsonl").read_text("utf-8").splitlines())
        if line["error"]
    )
    assert (bad["set"], bad["set_size"], bad["guarantee"]) == (None, None, None)


def test_a_transductive_model_gives_sets(photos: Path, tmp_path: Path) -> None:
    own = save_model(tmp_path / "run", classifier=StatA(), held_out=60)
    predict(own, photos, "--out", tmp_path / "out.parquet", "--coverage", ".8")
    frame = pd.read_parquet(tmp_path / "out.parquet")
    truth = [NAMES[int(Path(path).stem) % 3] for path in frame["path"]]
    assert np.mean([name in own for name, own in zip(truth, frame["set"], strict=True)]) > 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--coverage", "1"], r"coverage: must be above 0 and below 1, got 1\.0"),
        (["--coverage", "-.5"], "coverage: must be above 0"),
        (["--unknown", "0"], "unknown: must be above 0"),
        (["--coverage-per", "target"], "coverage_per: goes with a coverage"),
        (["--coverage", ".995"], r"coverage: needs at least 199 calibration images .* has 120\."),
        (["--coverage", ".99", "--coverage-per", "target"], "coverage: needs at least 99 .* of 'red'"),
        (["--coverage", ".9", "--targets", "red"], "coverage: needs two or more possible answers"),
        (["--coverage", ".9", "--prior", "red=.5,green=.3,blue=.2"], "coverage: can't be promised over all"),
    ],
)
def test_bad_input_is_a_line(
    options: list[str],
    message: str,
    model: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = refused(capsys, model, photos, "--out", tmp_path / "o.csv", *options)
    assert re.match(f"Error: {message}", said)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("labelled", "held_out", "message"),
    [(True, 0, "needs a model with calibration images"), (False, 30, "calibration images with labels")],
)
def test_a_model_that_can_not_promise_is_refused(
    labelled: bool,
    held_out: int,
    message: str,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = save_model(tmp_path / "run", calibrated=labelled, held_out=held_out)
    assert message in refused(capsys, own, photos, "--out", tmp_path / "o.csv", "--coverage", ".8")


def test_a_bar_in_a_name_does_not_part_it() -> None:
    from fused_clip.predict.answers import _joined

    assert _joined(["a|b", "c\\"]) == r"a\|b|c" + "\\\\"
    assert _joined([]) == ""
    assert _joined(None) is None


def test_the_sample_of_many_images_is_small_and_comes_back() -> None:
    sample = ShiftSample(50_000)
    kept = [sample.kept(f"{number}.png", np.full(3, number, np.float32)) for number in range(50_000)]
    found = sampled_rows(kept, 3)
    assert 850 < len(found) < 1150
    assert found[:, 0].mean() == pytest.approx(25_000, rel=0.1)
    assert all(ShiftSample(1000).kept(f"{number}", np.zeros(3, np.float32)) for number in range(1000))
    assert sampled_rows([{}], 3).shape == (0, 3)


def test_the_command_needs_no_heavy_import_to_refuse_a_level() -> None:
    with pytest.raises(SystemExit, match=r"coverage: must be above 0 and below 1, got 2\.0"):
        main(["missing", "missing", "--out", "missing.csv", "--coverage", "2"])
