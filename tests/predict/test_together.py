"""Predictions of a transductive model: all images are embedded first, and answered as one batch."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fused_clip import load_model
from fused_clip.method.classifier import StatA, TransClipFewShot
from fused_clip.model import saved
from fused_clip.model.saved import SavedModel
from fused_clip.predict import answers, stream
from fused_clip.predict.__main__ import main
from fused_clip.predict.journal import Journal
from fused_clip.predict.stream import Wanted, predict_into
from fused_clip.support.errors import InputError
from tests.models import pictures, save_model, save_pictures
from tests.predict.test_stream import Copies, encoded

Embedded = list[int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("run"), classifier=TransClipFewShot())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("photos"), 21)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> Embedded:
    """Sizes of the batches that are embedded."""
    sizes: Embedded = []
    original = stream._rows

    def counted(model: SavedModel, batch: Any) -> Any:
        sizes.append(len(batch.pixels))
        return original(model, batch)

    monkeypatch.setattr(stream, "_rows", counted)
    return sizes


def predict(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        predict(*arguments)
    return str(end.value.code)


def test_all_images_are_one_batch(
    folder: Path, photos: Path, tmp_path: Path, embedded: Embedded, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(folder, photos, "--out", tmp_path / "out.parquet", "--top-k", 2)
    assert embedded == [8, 8, 5]
    found = pd.read_parquet(tmp_path / "out.parquet")
    model = load_model(folder)
    rows = model.embed(found["path"].tolist())
    together = model.predict_embeddings(rows)
    assert found["target"].tolist() == together.targets.tolist()
    assert together.probabilities is not None
    np.testing.assert_allclose(found["probability"], together.probabilities.max(axis=1), rtol=1e-6)
    parts = [model.predict_embeddings(rows[start : start + 8]).margins for start in (0, 8, 16)]
    assert not np.allclose(np.concatenate(parts), found["margin"], rtol=0.01), "the batch matters"
    np.testing.assert_allclose(together.margins, found["margin"], rtol=1e-4)
    assert (found["cluster"] == -1).all()
    assert "each answer depends on all images predicted with it" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_the_model_says_that_it_is_transductive(folder: Path, tmp_path: Path) -> None:
    assert load_model(folder).transductive
    assert json.loads((folder / "model" / "model.json").read_text())["transductive"] is True
    plain = save_model(tmp_path)
    assert not load_model(plain).transductive
    assert "transductive" not in json.loads((plain / "model" / "model.json").read_text())


def test_a_gallery_says_so(folder: Path, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    predict(folder, photos, "--out", tmp_path / "out.csv", "--gallery", page)
    assert "each depends on all images predicted together" in page.read_text("utf-8")


def test_one_image_is_refused_before_it_is_embedded(
    folder: Path, photos: Path, tmp_path: Path, embedded: Embedded
) -> None:
    message = refused(folder, photos / "a" / "01.png", "--out", tmp_path / "out.csv")
    assert "images: must be two or more: the answers of this model depend on all images" in message
    assert embedded == []
    assert not list(tmp_path.iterdir())
    one = save_pictures(tmp_path / "images", 2)
    (one / "a" / "01.png").write_bytes(b"no image")
    assert "images: must be two or more" in refused(folder, one, "--out", tmp_path / "out.csv")
    assert "images: must be two or more" in refused(folder, one, "--out", tmp_path / "out.csv"), "again"
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_none_that_can_be_read_is_said_as_for_every_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in "ab":
        (tmp_path / "images" / f"{name}.png").write_bytes(b"no image")
    message = refused(folder, tmp_path / "images", "--out", tmp_path / "out.csv")
    assert "none of the 2 images can be read" in message


def test_python_refuses_one_image_and_takes_several(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(folder)
    arrays, _ = pictures(6, seed=3)
    for call in (
        lambda: model.predict(arrays[0]),
        lambda: model.predict(arrays[:1]),
        lambda: model.predict_proba(arrays[0]),
        lambda: model.predict_embeddings(model.embed(arrays[:1])),
        lambda: model.constrain(targets=["red", "blue"]).predict(arrays[0]),
    ):
        with pytest.raises(InputError, match="must be two or more"):
            call()
    with monkeypatch.context() as patched:
        patched.setattr(saved, "embed_pixels", None)
        with pytest.raises(InputError, match="must be two or more"):
            model.predict(arrays[0])
    assert model.predict(arrays).shape == (6,)
    assert model.predict([]).tolist() == []


def test_unreadable_images_keep_their_places(folder: Path, tmp_path: Path) -> None:
    images = save_pictures(tmp_path / "images", 20)
    for name in ("02", "10", "19"):
        (images / "a" / f"{name}.png").write_bytes(b"no image")
    predict(folder, images, "--out", tmp_path / "out.csv", "--on-bad-image", "report")
    found = pd.read_csv(tmp_path / "out.csv")
    bad = [Path(path).stem for path in found["path"][found["error"].notna()]]
    assert sorted(bad) == ["02", "10", "19"]
    good = found[found["error"].isna()]
    model = load_model(folder)
    together = model.predict_embeddings(model.embed(good["path"].tolist()))
    assert good["target"].tolist() == together.targets.tolist()
    message = refused(folder, images, "--out", tmp_path / "more.csv", "--on-bad-image", "error")
    assert "can't be read" in message
    assert len((tmp_path / "more.csv.partial").read_text().splitlines()) == 1, "no answer without the others"


def stopped(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, *arguments: object) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(where, name, interrupted)
        with pytest.raises(SystemExit) as end:
            predict(*arguments)
    assert end.value.code == 130


def test_a_stopped_one_starts_anew(
    folder: Path, photos: Path, tmp_path: Path, embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(folder, photos, "--out", tmp_path / "whole.csv")
    arguments = (folder, photos, "--out", tmp_path / "out.csv")
    stopped(monkeypatch, SavedModel, "predict_embeddings", *arguments)
    embedded.clear()
    predict(*arguments)
    assert embedded == [8, 8, 5]
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_one_killed_while_it_wrote_its_answers_starts_anew(
    folder: Path, photos: Path, tmp_path: Path, embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(folder, photos, "--out", tmp_path / "whole.csv")
    arguments = (folder, photos, "--out", tmp_path / "out.csv")
    stopped(monkeypatch, answers, "write", *arguments)
    journal = tmp_path / "out.csv.partial"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 22
    journal.write_bytes(b"".join(lines[:9]))
    embedded.clear()
    predict(*arguments)
    assert embedded == [8, 8, 5]
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_one_with_all_answers_embeds_nothing_again(
    folder: Path, photos: Path, tmp_path: Path, embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (folder, photos, "--out", tmp_path / "out.csv")
    stopped(monkeypatch, answers, "write", *arguments)
    embedded.clear()
    predict(*arguments)
    assert embedded == []
    assert len(pd.read_csv(tmp_path / "out.csv")) == 21


def test_records_are_written_in_parts(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_RECORDS_A_WRITE", 4)
    journal = Journal(tmp_path / "out.partial", {"format": 2}, fresh=False)
    sizes: list[int] = []
    extend: Callable[..., None] = journal.extend
    monkeypatch.setattr(journal, "extend", lambda records: (sizes.append(len(records)), extend(records)))
    predict_into(journal, load_model(folder), Copies(10, encoded()), Wanted())
    assert sizes == [4, 4, 2]
    assert sum(1 for _ in journal) == 10


@pytest.mark.slow
def test_memory_is_that_of_the_embeddings(tmp_path: Path) -> None:
    model = load_model(save_model(tmp_path, classifier=StatA()))

    def peak(count: int) -> int:
        journal = Journal(tmp_path / f"{count}.partial", {"format": 2}, fresh=False)
        tracemalloc.start()
        predict_into(journal, model, Copies(count, encoded()), Wanted())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(100)
    few, many = peak(400), peak(1_600)
    assert many - few < 1_200 * 4_000, "pixels alone would be 12 kB an image"
