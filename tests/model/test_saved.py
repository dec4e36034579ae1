import dataclasses
import json
import logging
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fused_clip import embed_texts, load_model
from fused_clip.backbone import OpenClipBackbone
from fused_clip.dataset import reading
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.method.classifier import ZeroShot
from fused_clip.method.fusion import LinearFusion
from fused_clip.model import saved
from fused_clip.model.result import Result
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.models import NAMES, pictures, save_model
from tests.test_pipeline import run
from tests.tiny_clip import save_tiny_clip


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("below", ["", "model"])
def test_images_of_every_kind_are_predicted(below: str, run_directory: Path, tmp_path: Path) -> None:
    model = load_model(run_directory / below)
    arrays, targets = pictures(12, seed=3)
    path = tmp_path / "image.png"
    Image.fromarray(arrays[0]).save(path)
    for image in (arrays[0], Image.fromarray(arrays[0]), path, str(path), path.read_bytes()):
        assert model.predict([image]).tolist() == ["red"]
    assert model.predict(arrays).tolist() == [NAMES[target] for target in targets]
    probabilities = model.predict_proba(arrays)
    assert probabilities.shape == (12, 3)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), targets)
    rows = model.embed(arrays)
    assert model.predict_embeddings(rows).targets.tolist() == model.predict(arrays).tolist()
    assert model.predict([]).tolist() == []


def test_one_image_is_one_image(run_directory: Path, tmp_path: Path) -> None:
    model = load_model(run_directory)
    array = pictures(1, seed=3)[0][0]
    path = tmp_path / "image.png"
    Image.fromarray(array).save(path)
    rows, probabilities = model.embed([array]), model.predict_proba([array])
    for image in (array, Image.fromarray(array), path, str(path), path.read_bytes()):
        assert model.predict(image) == "red"
        np.testing.assert_array_equal(model.embed(image), rows[0])
        np.testing.assert_array_equal(model.predict_proba(image), probabilities[0])
    for several in (np.stack([array] * 2), (path for _ in range(2)), np.array([str(path)] * 2)):
        assert model.predict(several).tolist() == ["red", "red"]
    with pytest.raises(InputError, match=r"images: gone\.jpg can't be read"):
        model.predict("gone.jpg")
    with pytest.raises(InputError, match=r"images: must be a path.* got 3"):
        model.predict([3])


def test_few_large_images_are_in_memory_at_once(
    run_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(run_directory)
    Image.new("RGB", (600, 500), "red").save(tmp_path / "large.png")
    images = [tmp_path / "large.png"] * 16
    expected = model.embed(images)
    monkeypatch.setattr(reading, "_PIXELS_AT_ONCE", 600 * 500)
    tracemalloc.start()
    rows = model.embed(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(rows, expected)
    assert peak < 5 * 600 * 500 * 3


def test_knowledge_narrows_without_touching_the_model(run_directory: Path) -> None:
    model = load_model(run_directory)
    arrays, _ = pictures(12, seed=3)
    narrow = model.constrain(
        targets=["red", "blue"], prior={"red": 0.5, "blue": 0.5}, target_map={"warm": ["red"]}
    )
    assert narrow.names == ("warm", "blue")
    step_by_step = model.constrain(targets=["red", "blue"]).constrain(prior={"red": 0.5, "blue": 0.5})
    assert step_by_step.constrain(target_map={"warm": ["red"]}).head.constraint == narrow.head.constraint
    assert narrow.constrain(target_map={"cold": ["blue"]}).names == ("red", "cold"), "the newest counts"
    assert set(narrow.predict(arrays)) <= {"warm", "blue"}
    assert model.names == NAMES


def test_a_model_of_no_labels_gives_no_probabilities(tmp_path: Path) -> None:
    model = load_model(save_model(tmp_path, calibrated=False))
    assert not model.calibrated
    arrays, targets = pictures(6, seed=3)
    assert model.predict(arrays).tolist() == [NAMES[target] for target in targets]
    with pytest.raises(InputError, match="the model is uncalibrated: made without labels"):
        model.predict_proba(arrays)


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    directory = save_model(tmp_path)
    save_tiny_clip(tmp_path / "clip", seed=1)
    with pytest.raises(
        InputError, match="model: needs the backbone that it was made with: the weights of clip"
    ):
        load_model(directory)
    save_tiny_clip(tmp_path / "clip")
    config = tmp_path / "clip" / "open_clip_config.json"
    facts = json.loads(config.read_text())
    facts["preprocess_cfg"]["mean"] = [0.1, 0.1, 0.1]
    config.write_text(json.dumps(facts))
    with pytest.raises(InputError, match="the pixels of clip differ"):
        load_model(directory)
    assert load_model(directory, embeddings_only=True).predict_embeddings(np.ones((1, 24))).names == NAMES


def test_without_a_backbone_images_can_not_be_embedded(run_directory: Path) -> None:
    model = load_model(run_directory, embeddings_only=True)
    with pytest.raises(InputError, match="takes embeddings alone"):
        model.predict(pictures(1)[0])


def test_a_backbone_that_is_gone_is_told(tmp_path: Path) -> None:
    directory = save_model(tmp_path)
    (tmp_path / "clip" / "open_clip_config.json").unlink()
    with pytest.raises(InputError, match=r"backbone\.model: "):
        load_model(directory)


def test_weights_that_were_moved_are_named(tmp_path: Path) -> None:
    directory = save_model(tmp_path / "run")
    moved = (directory / "clip").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"backbone\.model: "):
        load_model(directory)
    assert load_model(directory, weights=moved).predict(pictures(1)[0]).tolist() == ["red"]
    save_tiny_clip(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="the weights of other differ"):
        load_model(directory, weights=tmp_path / "other")


def test_a_pil_image_is_read_as_its_file(run_directory: Path) -> None:
    model = load_model(run_directory)
    exif = Image.Exif()
    exif[0x0112] = 6
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 2**16, (32, 24), dtype=np.uint16)
    see_through = rng.integers(0, 256, (32, 24, 4), dtype=np.uint8)
    for pixels, options in ((grey, {}), (see_through, {}), (see_through[..., :3], {"exif": exif})):
        encoded = BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG", **options)
        with Image.open(encoded) as image:
            np.testing.assert_array_equal(model.embed([image]), model.embed([encoded.getvalue()]))
            assert image.size == (24, 32), "it stays as it is"


def test_a_backbone_of_few_words_warns_of_other_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = save_model(tmp_path)
    load_model(directory)
    assert not caplog.text
    (directory / "clip" / "training.json").write_text(
        '{"vocabulary": ["red"], "trained_on": ["toy/train", "b/test", "b/train"]}'
    )
    load_model(directory, embeddings_only=True)
    assert not caplog.text
    load_model(directory)
    assert "clip was trained on images of b, toy alone: for photos use backbone=open." in caplog.text


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        b"no image",
        "gone.png",
        np.zeros((1, 999, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_refused(image: object, run_directory: Path) -> None:
    with pytest.raises(InputError, match=r"^images: "):
        load_model(run_directory).embed([image])  # type: ignore[list-item]


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be an existing run or model directory"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"must contain model\.json"):
        load_model(tmp_path)


def test_a_model_means_the_same_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny_clip(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    weights = "clip/open_clip_model.safetensors"
    facts = saved.backbone_facts(OpenClipBackbone("local-dir:clip", weights))
    assert facts is not None
    assert (facts.model, facts.pretrained) == (f"local-dir:{tmp_path}/clip", f"{tmp_path}/{weights}")
    tag = saved.backbone_facts(OpenClipBackbone("compact"))
    assert tag is not None
    assert (tag.model, tag.pretrained) == ("compact", None)


def test_a_run_saves_its_model(toy: ImageDataset, blobs: Blobs, tmp_path: Path) -> None:
    result = run(toy, blobs)
    (tmp_path / "model" / "old").mkdir(parents=True)
    saved.save(result, toy.train.images, object(), tmp_path / "model")
    model = load_model(tmp_path)
    predictions = model.predict_embeddings(blobs.test)
    np.testing.assert_array_equal(predictions.answers, result.test.predicted)
    np.testing.assert_array_equal(predictions.clusters, result.test.clusters)
    assert model.facts.training.fingerprint == toy.fingerprint
    assert model.facts.backbone is None, "a backbone of the user's own can't be brought back from data"


def test_a_run_with_code_in_its_model_says_why_it_saves_none(
    toy: ImageDataset, blobs: Blobs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @dataclasses.dataclass(frozen=True)
    class Own(LinearFusion):
        last: Callable[[np.ndarray], np.ndarray] = np.tanh

    with caplog.at_level(logging.WARNING):
        saved.save(run(toy, blobs, fusion=Own()), toy.train.images, object(), tmp_path / "model")
    assert "No model is saved: fusion: " in caplog.text
    assert "is code" in caplog.text
    assert not (tmp_path / "model").exists()
    for head in (run(toy, blobs).head, None):
        result = dataclasses.replace(run(toy, blobs), head=head)
        saved.save(result, toy.train.images, object(), tmp_path / "model")
        assert (tmp_path / "model").exists() == (head is not None), "none of an earlier run stays"


def test_a_model_of_vectors_takes_embeddings_alone(
    toy: ImageDataset, blobs: Blobs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from fused_clip.runner import console

    rows = Vectors(blobs.train, tuple(map(str, range(len(blobs.train)))))
    clip = OpenClipBackbone(f"local-dir:{save_tiny_clip(tmp_path / 'clip')}")
    result = run(toy, blobs)
    for images, takes_images in ((toy.train.images, True), (rows, False)):
        saved.save(result, images, clip, tmp_path / "model")
        assert (load_model(tmp_path).backbone is not None) == takes_images
        console.print_run(timed(result), tmp_path, [], "")
        printed = capsys.readouterr().out
        assert (f"fused-clip-predict {tmp_path} IMAGES" in printed) == takes_images
        assert (f"load_model('{tmp_path}').predict_embeddings(" in printed) != takes_images


def timed(result: Result) -> Result:
    return dataclasses.replace(result, metrics={**result.metrics, "seconds/total": 1.0})


@pytest.mark.slow
def test_loading_needs_no_torch_where_embeddings_are_there(run_directory: Path) -> None:
    script = (
        "import sys; from fused_clip import load_model\n"
        f"load_model({str(run_directory)!r}, embeddings_only=True)\n"
        "print(sorted({'torch', 'open_clip', 'mlflow', 'datasets'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_what_is_not_constrained_anew_stays(run_directory: Path) -> None:
    model = load_model(run_directory)
    told = {"targets": ["red", "blue"], "prior": {"red": 0.5, "blue": 0.5}, "target_map": {"warm": ["red"]}}
    whole = model.constrain(**told)
    for name, value in told.items():
        assert whole.constrain(**{name: value}).head.constraint == whole.head.constraint
    assert whole.constrain().head.constraint == whole.head.constraint


@pytest.mark.parametrize("folder", [True, False])
def test_moved_weights_are_a_folder_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    asked: list[object] = []

    class Known:
        identity: dict[str, str] = {}  # noqa: RUF012

        def __init__(self, *arguments: object) -> None:
            asked.extend(arguments)

        def check(self) -> None:
            asked.append("checked")

    monkeypatch.setattr(saved, "OpenClipBackbone", Known)
    moved = tmp_path if folder else tmp_path / "weights.safetensors"
    spec = SimpleNamespace(
        model="ViT-B-32",
        pretrained="openai",
        preprocessing="model",
        precision="float32",
        batch_size=7,
        jpeg="whole",
    )
    assert isinstance(saved._backbone(spec, "cpu", moved), Known)  # type: ignore[arg-type]
    model, pretrained = (f"local-dir:{moved}", "openai") if folder else ("ViT-B-32", str(moved))
    assert asked == [model, pretrained, "model", "float32", "cpu", 7, "whole", "checked"]


def test_a_target_is_added_by_a_sentence_and_the_calibration_rows_are_gone(tmp_path: Path) -> None:
    model = load_model(save_model(tmp_path, classifier=ZeroShot(), held_out=20))
    more = model.with_target("gray", "a gray picture")
    assert (model.names, more.names) == (NAMES, (*NAMES, "gray"))
    assert model.calibration is not None
    assert more.calibration is None
    rows = model.embed(pictures(6)[0])
    (text,) = embed_texts(["a gray picture"], model.require_backbone())
    unit = text / np.linalg.norm(text)
    similar = rows @ unit / np.linalg.norm(rows, axis=1)
    found = more.head.classifier.target_scores(rows).values
    np.testing.assert_allclose(found[:, 3], similar - 1, rtol=1e-4)
    np.testing.assert_array_equal(found[:, :3], model.head.classifier.target_scores(rows).values)


def test_a_model_of_embeddings_takes_no_sentence(run_directory: Path) -> None:
    with pytest.raises(InputError, match="takes embeddings alone"):
        load_model(run_directory, embeddings_only=True).with_target("gray", "a gray picture")


def test_a_name_that_is_taken_is_refused_before_the_text_is_embedded(run_directory: Path) -> None:
    with pytest.raises(InputError, match="name: must differ"):
        load_model(run_directory, embeddings_only=True).with_target("red", "a red picture")
