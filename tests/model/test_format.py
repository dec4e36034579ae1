import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fused_clip.method.classifier import (
    ConstrainedCentroid,
    LinearProbe,
    NearestClassMean,
    NearestClusterMean,
    ZeroShot,
)
from fused_clip.method.fusion import Concatenation, FunctionFusion, Fusion, LinearFusion, weighted
from fused_clip.model import format as files
from fused_clip.model.calibration_rows import CalibrationRows
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.model.conftest import MakeHead

TRAINING = files.TrainingFacts(dataset="toy", fingerprint="f" * 64, rows=120, uses_labels=True)
BACKBONE = files.BackboneFacts(
    model="compact",
    pretrained=None,
    preprocessing="model",
    precision="auto",
    batch_size=64,
    architecture="0" * 64,
    weights="1" * 64,
    pixels="squash",
)


@pytest.fixture
def saved(make_head: MakeHead, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    files.write(folder, make_head(), BACKBONE, TRAINING)
    return folder


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"text": False},
        {"calibrated": False},
        {"fusion": weighted(0.3)},
        {"fusion": LinearFusion(normalize_inputs=True, normalize_output=True)},
        {"fusion": Concatenation(alpha=0.3, normalize_output=True)},
        {"classifier": NearestClusterMean()},
        {"classifier": NearestClassMean()},
        {"classifier": LinearProbe(tol=1e-4)},
        {"classifier": ZeroShot(), "fusion": Concatenation()},
    ],
)
def test_what_is_read_predicts_as_what_was_written(
    params: dict[str, Any], blobs: Blobs, make_head: MakeHead, tmp_path: Path
) -> None:
    head = make_head(**params)
    files.write(tmp_path / "model", head, BACKBONE, TRAINING)
    read, facts, calibration = files.read(tmp_path / "model")
    assert calibration is None
    before, after = head.predict(blobs.test), read.predict(blobs.test)
    assert list(before.records()) == list(after.records())
    if before.probabilities is not None:
        np.testing.assert_array_equal(before.probabilities, after.probabilities)
    assert read.fusion == head.fusion
    assert read.classifier.get_params() == head.classifier.get_params()
    assert (read.target_names, read.prompts) == (head.target_names, head.prompts)
    assert (facts.backbone, facts.training) == (BACKBONE, TRAINING)


def test_calibration_rows_come_back(make_head: MakeHead, blobs: Blobs, tmp_path: Path) -> None:
    rows, targets = blobs.test.astype(np.float32), blobs.test_targets.astype(np.int64)
    training = TRAINING.model_copy(update={"calibration_rows": len(rows)})
    held_out = CalibrationRows(rows, targets, rows[:5], targets[:5] * 0 - 1)
    files.write(tmp_path / "model", make_head(), BACKBONE, training, held_out)
    _, facts, read = files.read(tmp_path / "model")
    assert read is not None
    for name, array in vars(held_out).items():
        np.testing.assert_array_equal(getattr(read, name), array)
    assert facts.training.calibration_rows == len(rows)
    assert f"{len(rows)} images held out" in (tmp_path / "model" / files.CARD).read_text("utf-8")


@pytest.mark.parametrize(
    ("rows", "targets", "stated"),
    [
        (np.zeros((2, 3), np.float32), np.zeros(2, np.int64), 2),
        (np.full((2, 16), np.nan, np.float32), np.zeros(2, np.int64), 2),
        (np.zeros((2, 16), np.float64), np.zeros(2, np.int64), 2),
        (np.zeros((2, 16), np.float32), np.zeros(3, np.int64), 2),
        (np.zeros((2, 16), np.float32), np.array([0, 3]), 2),
        (np.zeros((2, 16), np.float32), np.array([0, -2]), 2),
        (np.zeros((2, 16), np.float32), np.zeros(2, np.int64), 3),
        (np.zeros((2, 16), np.float32), np.zeros(2, np.int64), 0),
    ],
    ids=["width", "nan", "float64", "lengths", "no target", "below -1", "count", "not stated"],
)
def test_calibration_rows_that_do_not_fit_are_damage(
    rows: FloatArray, targets: IntArray, stated: int, make_head: MakeHead, tmp_path: Path
) -> None:
    training = TRAINING.model_copy(update={"calibration_rows": stated})
    reference = np.zeros((1, rows.shape[1]), np.float32), np.zeros(1, np.int64)
    files.write(
        tmp_path / "model", make_head(), BACKBONE, training, CalibrationRows(rows, targets, *reference)
    )
    with pytest.raises(InputError, match=r"is damaged: its arrays do not fit together .*calibration_"):
        files.read(tmp_path / "model")


@pytest.mark.parametrize(
    ("rows", "targets"),
    [
        (np.zeros((2, 3), np.float32), np.zeros(2, np.int64)),
        (np.full((2, 16), np.inf, np.float32), np.zeros(2, np.int64)),
        (np.zeros((2, 16), np.float32), np.array([0, 3])),
        (np.zeros((0, 16), np.float32), np.zeros(0, np.int64)),
    ],
    ids=["width", "inf", "no target", "none"],
)
def test_reference_rows_that_do_not_fit_are_damage(
    rows: FloatArray, targets: IntArray, make_head: MakeHead, tmp_path: Path
) -> None:
    training = TRAINING.model_copy(update={"calibration_rows": 2})
    held_out = CalibrationRows(np.zeros((2, 16), np.float32), np.zeros(2, np.int64), rows, targets)
    files.write(tmp_path / "model", make_head(), BACKBONE, training, held_out)
    with pytest.raises(InputError, match=r"is damaged: its arrays do not fit together .*calibration_ref"):
        files.read(tmp_path / "model")


def test_writing_twice_gives_the_same_bytes(make_head: MakeHead, saved: Path, tmp_path: Path) -> None:
    files.write(tmp_path / "again", make_head(), BACKBONE, TRAINING)
    assert files.checksum(tmp_path / "again") == files.checksum(saved)
    assert {path.name for path in saved.iterdir()} == {files.FACTS, files.ARRAYS, files.CARD, files.SUMS}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_the_checksums_are_those_of_the_usual_tool(saved: Path) -> None:
    subprocess.run(
        ["sha256sum", "--check", "--strict", files.SUMS], cwd=saved, check=True, capture_output=True
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject, saved: Path) -> None:
    path = saved / data.draw(st.sampled_from([files.FACTS, files.ARRAYS, files.CARD, files.SUMS]))
    whole = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    try:
        with pytest.raises(InputError, match=r"model: is damaged: .* is not what SHA256SUMS says"):
            files.read(saved)
    finally:
        path.write_bytes(whole)


def test_no_other_byte_ends_a_line_of_the_checksums(saved: Path) -> None:
    whole = (saved / files.SUMS).read_bytes()
    for other in (b"\x0b", b"\x0c", b"\x1c", b"\x1e", b"\r", b"\x85"):
        (saved / files.SUMS).write_bytes(whole.replace(b"\n", other, 1))
        with pytest.raises(InputError, match="is not what SHA256SUMS says"):
            files.read(saved)


@pytest.mark.parametrize("name", [files.FACTS, files.ARRAYS, files.SUMS])
def test_a_file_cut_short_or_missing_is_noticed(name: str, saved: Path) -> None:
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="is damaged"):
        files.read(saved)
    (saved / name).unlink()
    with pytest.raises(InputError, match=r"must be a model: a folder with .*No such file"):
        files.read(saved)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change model.json, as who made the model could, with checksums that fit."""
    import hashlib

    facts = json.loads((folder / files.FACTS).read_text())
    change(facts)
    (folder / files.FACTS).write_text(json.dumps(facts))
    names = (files.FACTS, files.ARRAYS, files.CARD)
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / files.SUMS).write_text("".join(sums))
    return folder


def test_a_newer_format_is_told_from_damage(saved: Path) -> None:
    rewritten(saved, lambda facts: facts.update(format=4, a_new_key=True))
    with pytest.raises(InputError, match=r"is of format 4, and .* reads up to format 3.*newer one"):
        files.read(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"classifier": "os.system"},
        {"_target_": "os.system"},
        {"backbone": {"_target_": "os.system"}},
        {"fusion": {"_target_": "builtins.eval", "image_weight": 1.0, "text_weight": 0.0}},
        {"fusion": {"name": "fused_clip.method.fusion:LinearFusion", "params": {"weight": 1.0}}},
        {"fusion": {"name": "fused_clip.method.fusion:Fusion", "params": {}}},
        {"fusion": {"name": "fused_clip.method.fusion:Concatenation", "params": {"alpha": 2.0}}},
        {"fusion": {"name": "fused_clip.method.fusion:Concatenation", "params": {}}},
        {"classifier": {"name": "import os", "params": {}}},
        {"classifier": {"name": "fused_clip.method.classifier.zero_shot:ZeroShot", "params": {"a": 1}}},
        {"dim": 15},
        {"temperature": 0.0},
        {"temperature": "1"},
        {"temperature": float("inf")},
        {"target_names": ["cat", "cat", "dog"]},
        {"target_names": ["cat", "dog"]},
        {"target_names": []},
        {"prompts": [["a"], ["b"]]},
        {"format": "1"},
        {"format": None},
        {"dim": 2**31},
    ],
)
def test_what_is_not_plain_data_that_fits_is_refused(change: dict[str, Any], saved: Path) -> None:
    whole = {**json.loads((saved / files.FACTS).read_text()), **change}
    rewritten(saved, lambda facts: facts.update(whole))
    with pytest.raises(InputError, match="model: is damaged"):
        files.read(saved)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"cluster_centers": np.zeros((6, 16), dtype="<i8")},
        {"cluster_centers": np.full((6, 16), np.nan)},
        {"cluster_centers": np.zeros((6, 15))},
        {"cluster_targets": np.full(6, 3)},
        {"cluster_targets": np.full(6, -1)},
        {"cluster_targets": np.zeros(5, dtype=int)},
        {"text_embeddings": np.zeros((2, 16), np.float32)},
        {"prompt_of_target": np.array([0, 1, 3])},
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays: dict[str, Any], saved: Path) -> None:
    from safetensors.numpy import load, save

    whole = load((saved / files.ARRAYS).read_bytes())
    (saved / files.ARRAYS).write_bytes(save({**whole, **arrays} if arrays else {"other": np.zeros(1)}))
    rewritten(saved, lambda facts: None)
    with pytest.raises(InputError, match="model: is damaged: its arrays do not fit together"):
        files.read(saved)


def test_a_pickle_is_not_an_array_file(saved: Path) -> None:
    import pickle

    (saved / files.ARRAYS).write_bytes(pickle.dumps({"cluster_centers": np.zeros((6, 16))}))
    rewritten(saved, lambda facts: None)
    with pytest.raises(InputError, match="is damaged"):
        files.read(saved)


def test_a_fusion_that_is_code_can_not_be_saved(make_head: MakeHead, tmp_path: Path) -> None:
    head = make_head(fusion=FunctionFusion(function=np.maximum))
    with pytest.raises(files.UnsavableError, match=r"fusion: .*FunctionFusion is code .* a model is data"):
        files.write(tmp_path / "model", head, BACKBONE, TRAINING)
    assert not (tmp_path / "model").exists()


class Shifted(ConstrainedCentroid):
    """A classifier as a user writes one."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def target_scores(self, X: Any) -> Any:
        found = super().target_scores(X)
        return dataclasses.replace(found, values=found.values - self.shift * np.arange(3))


class Shapeless(ConstrainedCentroid):
    """A classifier with parameters that are no data."""

    def __init__(self, part: object = None) -> None:
        self.part = part


@dataclasses.dataclass(frozen=True)
class Quarter(Fusion):
    """A fusion as a user writes one."""

    share: float = 0.25

    def combine(self, images: Any, texts: Any) -> Any:
        return self.share * images + (1 - self.share) * texts


def test_parts_of_ones_own_are_used_where_they_are_trusted(
    blobs: Blobs, make_head: MakeHead, tmp_path: Path
) -> None:
    head = make_head(classifier=Shifted(shift=0.5), fusion=Quarter(share=0.75))
    files.write(tmp_path / "model", head, BACKBONE, TRAINING)
    for trusted in ([], [Quarter], [ConstrainedCentroid]):
        with pytest.raises(InputError, match=r"needs the classifier .*Shifted, which is no .*trusted=\["):
            files.read(tmp_path / "model", trusted)
    with pytest.raises(InputError, match=r"needs the fusion .*Quarter, which is no .*trusted=\["):
        files.read(tmp_path / "model", [Shifted])
    read, facts, _ = files.read(tmp_path / "model", [Shifted, Quarter])
    assert facts.classifier.params == {"shift": 0.5}
    assert (type(read.classifier), read.fusion) == (Shifted, Quarter(share=0.75))
    np.testing.assert_array_equal(
        read.predict(blobs.test).probabilities, head.predict(blobs.test).probabilities
    )


def test_a_classifier_with_parts_that_are_code_can_not_be_saved(make_head: MakeHead, tmp_path: Path) -> None:
    with pytest.raises(files.UnsavableError, match=r"classifier: .*Shapeless is code or has parameters that"):
        files.write(tmp_path / "model", make_head(classifier=Shapeless(np.max)), BACKBONE, TRAINING)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"text": False},
        {"fusion": weighted(0.3)},
        {"fusion": LinearFusion(normalize_inputs=True, normalize_output=True)},
    ],
)
def test_a_model_of_format_1_is_still_read(
    params: dict[str, Any], blobs: Blobs, make_head: MakeHead, tmp_path: Path
) -> None:
    head = make_head(**params)
    files.write(tmp_path / "model", head, BACKBONE, TRAINING)

    def as_format_1(facts: dict[str, Any]) -> None:
        fusion = facts.pop("fusion")["params"]
        for name in ("classifier", "dim"):
            del facts[name]
        flags = {name: fusion.pop(name) for name in ("normalize_inputs", "normalize_output")}
        facts.update(format=1, fusion=fusion, **flags)

    read, facts, _ = files.read(rewritten(tmp_path / "model", as_format_1))
    np.testing.assert_array_equal(
        read.predict(blobs.test).probabilities, head.predict(blobs.test).probabilities
    )
    assert read.dim == 16
    assert facts.training == TRAINING
    rewritten(tmp_path / "model", lambda facts: facts.pop("fusion"))
    with pytest.raises(InputError, match=r"model: is damaged: model\.json lacks 'fusion'"):
        files.read(tmp_path / "model")


@pytest.mark.parametrize("name", ["model.json", "arrays.safetensors", "SHA256SUMS"])
def test_a_file_that_is_a_link_out_of_the_folder_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (saved / name).rename(elsewhere)
    (saved / name).symlink_to(elsewhere)
    with pytest.raises(InputError, match=rf"^model: must contain its files, and {name} is a link out of it"):
        files.read(saved)


def test_names_are_written_as_people_read_them(make_head: MakeHead, tmp_path: Path) -> None:
    head = dataclasses.replace(make_head(), target_names=("кот", "dög", "トラック"))
    files.write(tmp_path, head, BACKBONE, TRAINING)
    text = (tmp_path / files.FACTS).read_text("utf-8")
    assert all(name in text for name in head.target_names)
    assert files.read(tmp_path)[0].target_names == head.target_names


def test_a_name_that_no_file_could_hold_comes_back(make_head: MakeHead, tmp_path: Path) -> None:
    head = dataclasses.replace(make_head(), target_names=("a\udcff", "b", "c"))
    files.write(tmp_path, head, BACKBONE, TRAINING)
    assert files.read(tmp_path)[0].target_names == head.target_names
