"""``fused-clip-predict`` as a user meets it, on a model of a tiny CLIP."""

import csv
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fused_clip import load_model
from fused_clip.predict import answers, gallery
from fused_clip.predict.__main__ import main
from tests.models import NAMES, save_model, save_pictures

HEAVY = ("torch", "open_clip", "datasets", "sklearn", "mlflow", "matplotlib", "faiss", "pandas", "pyarrow")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("photos") / "my photos [1]", 21)


def predict(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which a command ends."""
    with pytest.raises(SystemExit) as end:
        predict(*arguments)
    assert isinstance(end.value.code, str)
    assert "\n" not in end.value.code
    return end.value.code


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def test_help_comes_without_heavy_imports() -> None:
    script = (
        "import sys, runpy, atexit\n"
        f"atexit.register(lambda: print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules))))\n"
        "runpy.run_module('fused_clip.predict', run_name='__main__', alter_sys=True)\n"
    )
    for arguments in (["--help"], ["m", "i", "--out", "o.txt"], ["m", "i", "--out", "o.csv", "--prior", "x"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "LOADED []" in done.stdout, done.stdout + done.stderr
    assert "Error: prior: must be" in done.stderr
    assert done.returncode == 1


def test_a_row_an_image(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(model, photos, "--out", tmp_path / "out.csv")
    found = rows(tmp_path / "out.csv")
    assert tuple(found[0]) == answers.COLUMNS
    assert [row["path"] for row in found] == sorted(
        (str(path) for path in photos.rglob("*.png")), key=lambda path: ("deep" in path, path)
    )
    for row in found:
        assert row["target"] == NAMES[int(Path(row["path"]).stem) % 3]
        assert 0.5 < float(row["probability"]) <= 1
        assert float(row["margin"]) > 0
        assert row["runner_up"] in set(NAMES) - {row["target"]}
        assert row["abstained"] == "false"
    assert "21 images predicted, 0 could not be read" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_parquet_holds_what_csv_holds_and_python_says(model: Path, photos: Path, tmp_path: Path) -> None:
    for suffix in ("csv", "parquet"):
        predict(model, photos, "--out", tmp_path / f"out.{suffix}")
    texts, frame = pd.read_csv(tmp_path / "out.csv"), pd.read_parquet(tmp_path / "out.parquet")
    for column in answers.COLUMNS:
        same = np.asarray(frame[column] == texts[column].astype(frame[column].dtype))
        assert same.all(), column
    loaded = load_model(model)
    records = list(loaded.predict_embeddings(loaded.embed(frame["path"].tolist())).records())
    assert frame[list(answers.COLUMNS[1:])].to_dict("records") == pd.DataFrame(records).astype(
        {"probability": "float32", "margin": "float32"}
    ).to_dict("records")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_the_best_answers_and_all_probabilities(
    model: Path, photos: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"out.{suffix}"
    predict(
        model, photos, "--out", out, "--top-k", "3", "--probabilities", "--prior", "red=.5,green=.3,blue=.2"
    )
    frame = {"csv": pd.read_csv, "parquet": pd.read_parquet, "jsonl": partial(pd.read_json, lines=True)}[
        suffix
    ](out)
    ranks = ["target_2", "probability_2", "target_3", "probability_3"]
    each = [f"p:{name}" for name in NAMES]
    assert frame.columns.tolist() == [*answers.COLUMNS, *ranks, *each]
    assert (frame["target_2"] == frame["runner_up"]).all()
    np.testing.assert_allclose(frame[each].sum(axis=1), 1, atol=1e-6)
    columns = ("probability", "probability_2", "probability_3")
    assert (np.diff(frame[list(columns)].to_numpy(), axis=1) <= 0).all()
    for name, column in zip(("target", "target_2", "target_3"), columns, strict=True):
        assert [row[f"p:{row[name]}"] for _, row in frame.iterrows()] == frame[column].tolist()


def test_json_lines_are_an_object_an_image(model: Path, tmp_path: Path) -> None:
    folder = bad_images(tmp_path / "images")
    predict(model, folder, "--out", tmp_path / "out.jsonl", "--on-bad-image", "report", "--targets", "red")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert len(found) == 7
    assert all(tuple(row) == (*answers.COLUMNS, "error") for row in found)
    (good,) = (row for row in found if row["error"] is None)
    assert (good["target"], good["probability"], good["margin"], good["abstained"]) == (
        "red",
        1.0,
        None,
        False,
    )
    assert isinstance(good["cluster"], int)


def test_several_places_are_predicted_each_image_once(
    model: Path, photos: Path, tmp_path: Path, stop: Callable[..., None]
) -> None:
    (photos / "list.csv").write_text("path\na/01.png\na/deep/00.png\n")
    first = photos / "a" / "02.png"
    pattern = f"{glob.escape(str(photos))}/a/*4.png"
    places = (first, photos / "list.csv", pattern, first, photos / "a" / "deep", photos / "a")
    arguments = (model, *places, "--out", tmp_path / "out.csv")
    stop(*arguments)
    predict(model, first, "--out", tmp_path / "out.csv", *places[1:])
    (photos / "list.csv").unlink()
    found = [Path(row["path"]).relative_to(photos).as_posix() for row in rows(tmp_path / "out.csv")]
    assert found[:5] == ["a/02.png", "a/01.png", "a/deep/00.png", "a/04.png", "a/14.png"]
    assert sorted(found) == sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))


def test_places_are_part_of_the_job(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stop: Callable[..., None]
) -> None:
    some = sorted((photos / "a").glob("*.png"))
    out = ("--out", tmp_path / "out.csv")
    stop(model, *some, *out)
    for other in ((*some[1:], *out), (*some, *out, "--top-k", "2"), (*some, *out, "--max-pixels", "9")):
        assert "out: has partial predictions of another model, other images" in refused(capsys, model, *other)


def test_the_limit_of_pixels_is_an_option(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_pictures(tmp_path / "images", 2)
    Image.new("RGB", (50, 40), "red").save(folder / "large.png")
    arguments = (model, folder, "--max-pixels", "1999", "--out")
    predict(*arguments, tmp_path / "out.csv")
    assert len(rows(tmp_path / "out.csv")) == 2
    assert "large.png can't be read: " in caplog.text
    assert "1999" in caplog.text
    predict(model, folder, "--max-pixels", "2000", "--out", tmp_path / "all.csv")
    assert len(rows(tmp_path / "all.csv")) == 3
    with pytest.raises(SystemExit):
        predict(model, folder, "--max-pixels", "0", "--out", tmp_path / "none.csv")
    assert "must be at least 1, got 0" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        predict("--version")
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("fused_clip ")


def test_targets_prior_map_and_threshold(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map.yaml").write_text("warm: [red]\ncold: [blue]\n")
    arguments = ["--targets", "blue,red", "--prior", "blue=.9,red=.1", "--target-map", tmp_path / "map.yaml"]
    predict(model, photos, "--out", tmp_path / "out.csv", *arguments, "--threshold", "1")
    found = rows(tmp_path / "out.csv")
    assert {row["target"] for row in found} == {"warm", "cold"}
    abstained = sum(row["abstained"] == "true" for row in found)
    assert abstained == sum(float(row["probability"]) < 1 for row in found) > 0
    assert f"{abstained} have a probability below 1.0" in capsys.readouterr().out


def test_a_gallery_shows_what_was_predicted(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bad_images(tmp_path / "images")
    page, out = tmp_path / "page.html", ("--out", tmp_path / "out.csv")
    predict(model, folder, *out, "--gallery", page)
    text = page.read_text("utf-8")
    assert "00.png" in text
    assert f"<code>{folder}/b.png</code> it is no image of a kind that can be read" in text
    assert "6 unreadable" in text
    for fact in (str(model), "colours: 60 images, with labels", "clip", "red, green, blue", "calibrated"):
        assert f"<dd>{fact}</dd>" in text
    assert re.search(r"2nd \d+% (green|blue)", text)
    assert text.count("data:image/") == 2, "once by target, once by cluster"
    again = (model, photos, "--out", tmp_path / "more.csv", "--gallery", page)
    assert "gallery: must not exist yet" in refused(capsys, *again)
    predict(*again, "--overwrite")
    assert page.read_text("utf-8").count("data:image/") == 42


def bad_images(folder: Path) -> Path:
    """A good picture, and six that can't be read."""
    save_pictures(folder, 1)
    (folder / "b.png").write_bytes(b"no image")
    (folder / "c.png").write_bytes((folder / "a" / "deep" / "00.png").read_bytes()[:200])
    (folder / "d.png").write_bytes(b"")
    (folder / "e.ppm").write_bytes(b"P6 0 0 255\n")
    Image.new("1", (20_001, 10_000)).save(folder / "f.png")
    Image.new("RGB", (1, 50_000)).save(folder / "g.png")
    return folder


def test_images_that_can_not_be_read_are_named_and_left_out(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bad_images(tmp_path / "images")
    predict(model, folder, "--out", tmp_path / "out.csv")
    assert [Path(row["path"]).name for row in rows(tmp_path / "out.csv")] == ["00.png"]
    for name in "bcde":
        assert f"{folder}/{name}." in caplog.text
    assert "f.png can't be read: 20001 x 10000 pixels are too many" in caplog.text
    assert "g.png can't be read: 1 x 50000 pixels are too thin" in caplog.text
    assert "1 images predicted, 6 could not be read" in capsys.readouterr().out
    predict(model, folder, "--out", tmp_path / "all.csv", "--on-bad-image", "report")
    reported = rows(tmp_path / "all.csv")
    assert [bool(row["error"]) for row in reported] == [True] * 6 + [False]
    assert [row["target"] for row in reported] == [""] * 6 + ["red"]
    predict(model, folder, "--out", tmp_path / "again.csv", "--on-bad-image", "report")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "all.csv").read_bytes()


def test_what_was_predicted_before_a_bad_image_is_kept(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_pictures(tmp_path / "images", 20)
    (folder / "a" / "17.png").write_bytes(b"no image")
    arguments = (model, folder, "--out", tmp_path / "out.csv", "--on-bad-image", "error")
    message = refused(capsys, *arguments)
    assert "17.png can't be read" in message
    kept = (tmp_path / "out.csv.partial").read_text().splitlines()[1:]
    assert len(kept) == 11, "those before it in their order"
    Image.new("RGB", (32, 32), "red").save(folder / "a" / "17.png")
    predict(*arguments)
    assert len(rows(tmp_path / "out.csv")) == 20


@pytest.mark.slow
def test_bad_input_is_a_line(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", tmp_path / "out.csv")
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "none").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"")
    for arguments, expected in [
        ((tmp_path / "nowhere", photos, *out), "model: must be an existing run or model directory"),
        ((tmp_path, photos, *out), "model: must contain model.json"),
        ((model, tmp_path / "nowhere", *out), "images: must be an existing folder"),
        ((model, tmp_path / "none", *out), "images: must contain an image"),
        ((model, tmp_path / "bad", *out), "images: none of the 1 images can be read"),
        ((model, photos, "--out", tmp_path / "there.csv"), "out: must not exist yet"),
        (
            (model, photos, *out, "--targets", "rde"),
            "targets: must name targets of the model, got 'rde'; choose from",
        ),
        ((model, photos, *out, "--prior", "red=.5,green=.5,blue=.5"), "prior: must sum to 1, got 1.5"),
        (
            (model, photos, *out, "--top-k", "4"),
            "top-k: must be between 1 and 3, the number of answers, got 4",
        ),
        ((model, photos, *out, "--top-k", "3", "--targets", "red,blue"), "top-k: must be between 1 and 2"),
        ((model, photos, *out, "--threshold", "2"), "threshold: must be a probability"),
        ((model, photos, *out, "--target-map", tmp_path / "no.yaml"), "target_map: must be YAML of"),
        (
            ("runs:/0123/model", photos, *out, "--tracking-uri", f"sqlite:///{tmp_path}/m.db"),
            "tracking.uri: ",
        ),
    ]:
        assert expected in refused(capsys, *arguments), expected
    assert not list(tmp_path.glob("out.csv*"))


def test_an_uncalibrated_model_says_so(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uncalibrated = save_model(tmp_path, calibrated=False)
    predict(uncalibrated, photos, "--out", tmp_path / "out.csv")
    assert {row["probability"] for row in rows(tmp_path / "out.csv")} == {""}
    assert "The model is uncalibrated" in capsys.readouterr().out
    out = ("--out", tmp_path / "more.csv")
    for option, *value in (("--threshold", ".5"), ("--top-k", "2"), ("--probabilities",)):
        message = refused(capsys, uncalibrated, photos, *out, option, *value)
        assert f"{option.removeprefix('--')}: needs a calibrated model" in message


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_killed_run_goes_on_to_the_same_bytes(model: Path, tmp_path: Path, suffix: str) -> None:
    folder = save_pictures(bad_images(tmp_path / "images"), 400)
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    options = ("--on-bad-image", "report", "--top-k", "2", "--probabilities")
    predict(model, folder, "--out", whole, *options)
    command = [
        sys.executable,
        "-m",
        "fused_clip.predict",
        str(model),
        str(folder),
        "--out",
        str(out),
        *options,
    ]
    partial = tmp_path / f"out.{suffix}.partial"
    running = subprocess.Popen(
        command, env={**environment(), "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL
    )
    while running.poll() is None and not (partial.exists() and partial.read_bytes().count(b"\n") > 20):
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL, "it was killed at work"
    done = len(partial.read_bytes().splitlines())
    assert 20 < done < 400
    assert not out.exists()
    predict(model, folder, "--out", out, *options)
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.partial*"))


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stop a command when all is predicted and nothing written."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def stop(*arguments: object) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(answers, "write", interrupted)
            with pytest.raises(SystemExit) as end:
                predict(*arguments)
        assert end.value.code == 130

    return stop


def test_a_stopped_run_says_that_it_goes_on(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stop: Callable[..., None]
) -> None:
    page = tmp_path / "page.html"
    arguments = (model, photos, "--out", tmp_path / "out.csv", "--gallery", page)
    stop(*arguments)
    assert "goes on from here" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv.partial"], "no page without its table"
    predict(*arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "page.html"]


def rename(folder: Path) -> None:
    (folder / "a" / "01.png").rename(folder / "a" / "77.png")


def repaint(folder: Path) -> None:
    Image.new("RGB", (32, 32), "blue").save(folder / "a" / "01.png")


@pytest.mark.parametrize("change", [rename, repaint])
def test_other_images_than_a_stopped_run_began_with_are_told(
    change: Callable[[Path], None],
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stop: Callable[..., None],
) -> None:
    folder = save_pictures(tmp_path / "images", 4)
    arguments: tuple[Any, ...] = (model, folder, "--out", tmp_path / "out.csv")
    stop(*arguments)
    change(folder)
    assert "images: must be those that" in refused(capsys, *arguments)
    predict(*arguments[:2], "--out", tmp_path / "other.csv")
    predict(*arguments, "--overwrite")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()


def test_a_table_that_changed_is_another_job(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stop: Callable[..., None],
) -> None:
    folder = save_pictures(tmp_path / "images", 4)
    (folder / "list.csv").write_text("path\na/01.png\na/02.png\n")
    monkeypatch.chdir(folder)
    arguments = ("list.csv", "--out", tmp_path / "out.csv")
    stop(model, *arguments)
    (folder / "list.csv").write_text("path\na/01.png\na/02.png\na/deep/00.png\n")
    assert "out: has partial predictions of another model, other images" in refused(capsys, model, *arguments)
    predict(model, *arguments, "--overwrite")
    assert [row["path"] for row in rows(tmp_path / "out.csv")] == ["a/01.png", "a/02.png", "a/deep/00.png"]


def test_a_path_means_the_same_from_any_directory(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stop: Callable[..., None],
) -> None:
    for name in ("one", "two"):
        save_pictures(tmp_path / name / "images", 4)
    monkeypatch.chdir(tmp_path / "one")
    stop(model, "images", "--out", tmp_path / "out.csv")
    monkeypatch.chdir(tmp_path / "two")
    assert "out: has partial predictions of another" in refused(
        capsys, model, "images", "--out", tmp_path / "out.csv"
    )


def test_two_commands_can_not_have_one_file(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    with answers.place(out, overwrite=False):
        message = refused(capsys, model, photos, "--out", out, "--overwrite")
    assert "out: another process predicts into it" in message
    predict(model, photos, "--out", out)
    assert len(rows(out)) == 21


def test_a_folder_that_changes_meanwhile_loses_nothing_but_thumbnails(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_pictures(tmp_path / "images", 6)
    page = tmp_path / "page.html"
    draw = gallery.drawn

    def changed(*arguments: Any) -> Any:
        repaint(folder)
        (folder / "a" / "00.png").write_bytes((folder / "a" / "01.png").read_bytes())
        (folder / "a" / "02.png").write_bytes(b"no image any more")
        (folder / "a" / "04.png").unlink()
        return draw(*arguments)

    monkeypatch.setattr(gallery, "drawn", changed)
    predict(model, folder, "--out", tmp_path / "out.csv", "--gallery", page)
    assert len(rows(tmp_path / "out.csv")) == 6
    assert page.read_text("utf-8").count("data:image/") == 2 * 4
    assert "02.png is not in the gallery" in caplog.text


def test_a_gallery_that_can_not_be_is_told_before_work(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    for page, message in [
        ("folder", "gallery: must be a file"),
        ("none/p.html", "gallery: must be in an existing folder"),
    ]:
        arguments = (model, photos, "--out", tmp_path / "o.csv", "--gallery", tmp_path / page, "--overwrite")
        assert message in refused(capsys, *arguments)


def test_what_is_read_is_not_written_over(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, names = tmp_path / "photos.csv", tmp_path / "map.csv"
    table.write_text(f"path\n{photos}/a/01.png\n")
    names.write_text("warm: [red]\n")
    (tmp_path / "link.csv").symlink_to(table)
    page = tmp_path / "page.html"
    for option, arguments in (
        ("out", (table, "--out", table)),
        ("out", (table, "--out", tmp_path / "link.csv")),
        ("out", (photos, table, "--out", table)),
        ("out", (photos, "--target-map", names, "--out", names)),
        ("gallery", (table, "--out", tmp_path / "o.csv", "--gallery", table)),
        ("gallery", (photos, "--out", tmp_path / "o.csv", "--gallery", tmp_path / "o.csv")),
    ):
        message = refused(capsys, model, *arguments, "--overwrite")
        assert f"Error: {option}: must be another file than the command's other files, got" in message
    picture = photos / "a" / "01.png"
    arguments = (table, "--out", tmp_path / "o.csv", "--gallery", picture, "--overwrite")
    assert "gallery: must end in one of these, got '01.png'" in refused(capsys, model, *arguments)
    assert picture.read_bytes()[1:4] == b"PNG"
    assert table.read_text() == f"path\n{photos}/a/01.png\n"
    assert not page.exists()


def test_a_backbone_of_few_words_warns_once_of_images_that_are_not_its_own(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = save_model(tmp_path / "run")
    (small / "clip" / "training.json").write_text('{"vocabulary": ["red"]}')
    main([str(small), str(photos), "--out", str(tmp_path / "out.csv")])
    assert caplog.text.count("alone: for photos use backbone=open") == 1


def test_a_backbone_that_was_moved_is_named(photos: Path, tmp_path: Path) -> None:
    moved = save_model(tmp_path / "run")
    (moved / "clip").rename(tmp_path / "clip")
    predict(moved, photos, "--out", tmp_path / "out.csv", "--weights", tmp_path / "clip")
    assert len(rows(tmp_path / "out.csv")) == 21
