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

from fused_clip.method.fusion import weighted
from fused_clip.model import format as files
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
        {"normalize_inputs": True, "normalize_output": True},
    ],
)
def test_what_is_read_predicts_as_what_was_written(
    params: dict[str, Any], blobs: Blobs, make_head: MakeHead, tmp_path: Path
) -> None:
    head = make_head(**params)
    files.write(tmp_path / "model", head, BACKBONE, TRAINING)
    read, facts = files.read(tmp_path / "model")
    before, after = head.predict(blobs.test), read.predict(blobs.test)
    assert list(before.records()) == list(after.records())
    if before.probabilities is not None:
        np.testing.assert_array_equal(before.probabilities, after.probabilities)
    assert (read.target_names, read.prompts) == (head.target_names, head.prompts)
    assert (facts.backbone, facts.training) == (BACKBONE, TRAINING)


def test_writing_twice_gives_the_same_bytes(make_head: MakeHead, saved: Path, tmp_path: Path) -> None:
    files.write(tmp_path / "again", make_head(), BACKBONE, TRAINING)
    assert files.checksum(tmp_path / "again") == files.checksum(saved)
    assert {path.name for path in saved.iterdir()} == {files.FACTS, files.ARRAYS, files.SUMS}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_the_checksums_are_those_of_the_usual_tool(saved: Path) -> None:
    subprocess.run(
        ["sha256sum", "--check", "--strict", files.SUMS], cwd=saved, check=True, capture_output=True
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject, saved: Path) -> None:
    path = saved / data.draw(st.sampled_from([files.FACTS, files.ARRAYS, files.SUMS]))
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
    names = (files.FACTS, files.ARRAYS)
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / files.SUMS).write_text("".join(sums))
    return folder


def test_a_newer_format_is_told_from_damage(saved: Path) -> None:
    rewritten(saved, lambda facts: facts.update(format=2, a_new_key=True))
    with pytest.raises(InputError, match=r"is of format 2, and this fused_clip reads format 1.*newer one"):
        files.read(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"classifier": "os.system"},
        {"_target_": "os.system"},
        {"backbone": {"_target_": "os.system"}},
        {"fusion": {"_target_": "builtins.eval", "image_weight": 1.0, "text_weight": 0.0}},
        {"temperature": 0.0},
        {"temperature": "1"},
        {"temperature": float("inf")},
        {"target_names": ["cat", "cat", "dog"]},
        {"target_names": ["cat", "dog"]},
        {"target_names": []},
        {"prompts": [["a"], ["b"]]},
        {"format": "1"},
        {"format": None},
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
    def product(images: Any, texts: Any) -> Any:
        return images * texts

    with pytest.raises(files.UnsavableError, match=r"product is code, and a model holds data"):
        files.write(tmp_path / "model", make_head(fusion=product), BACKBONE, TRAINING)
    assert not (tmp_path / "model").exists()
