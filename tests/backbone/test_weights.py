"""Weights files: what is refused, what names them, and the hub's cache."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from fused_clip.backbone.weights import HubWeights, LocalWeights, read_record, record_path
from fused_clip.support.errors import InputError

SHAPES = {"token_embedding.weight": (7, 3)}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"token_embedding.weight": np.ones((7, 3), np.float32), "other": np.zeros(2, np.float32)}, path)
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def cut_to_nothing(path: Path) -> None:
    path.write_bytes(b"abc")


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"tail")


def garble_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8:12] = b"\xff\xfe{,"
    path.write_bytes(content)


def be_a_page(path: Path) -> None:
    path.write_text("<html>Access denied</html>" * 100)


def be_other_json(path: Path) -> None:
    text = json.dumps(["no", "tensors"]).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)


@pytest.mark.parametrize("damage", [cut, cut_to_nothing, lengthen, garble_header, be_a_page, be_other_json])
def test_a_file_that_is_no_whole_safetensors_file_is_refused(
    weights: Path, damage: Callable[[Path], None]
) -> None:
    LocalWeights(weights).check(SHAPES)
    damage(weights)
    with pytest.raises(InputError, match=r"safetensors") as caught:
        LocalWeights(weights).check(SHAPES)
    assert caught.value.option == "backbone.pretrained"
    assert str(weights) in str(caught.value)


def test_tensors_of_another_shape_are_refused(weights: Path) -> None:
    with pytest.raises(InputError, match=r"token_embedding.weight is \(7, 3\) in .*, not \(7, 4\)"):
        LocalWeights(weights).check({"token_embedding.weight": (7, 4)})


def test_tensors_of_another_model_are_refused(weights: Path) -> None:
    with pytest.raises(InputError, match=r"none of visual\.proj"):
        LocalWeights(weights).check({"visual.proj": (7, 4)})


def test_layouts_that_share_some_names_are_accepted(weights: Path) -> None:
    LocalWeights(weights).check(SHAPES | {"text.token_embedding.weight": (7, 3)})


@pytest.mark.parametrize("name", ["model.pt", "model.bin", "model.pth", "open_clip.ckpt"])
def test_a_pickle_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="a pickle can run code"):
        LocalWeights(tmp_path / name).check({})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"an existing file or a known tag, got '.*gone.safetensors'"):
        LocalWeights(tmp_path / "gone.safetensors").check({})


def test_the_hash_is_of_the_contents_and_follows_them(weights: Path) -> None:
    content = weights.read_bytes()
    before = LocalWeights(weights).sha256()
    assert before == hashlib.sha256(content).hexdigest()
    weights.write_bytes(content[:-1] + b"\x01")
    os.utime(weights, ns=(0, 0))
    assert LocalWeights(weights).sha256() == hashlib.sha256(content[:-1] + b"\x01").hexdigest()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and a hub that refuses connections."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


def put_in_cache(cache: Path, repo: str, name: str, content: bytes) -> Path:
    """Put a file where huggingface_hub keeps it; give the blob."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    link = folder / "snapshots" / "c0ffee" / name
    for path in (blob, link, folder / "refs" / "main"):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link.symlink_to(blob)
    (folder / "refs" / "main").write_text("c0ffee")
    return blob


def test_a_hub_out_of_reach_is_told_within_seconds_with_what_to_do(cache: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(InputError, match="owner/absent is not in the hub's cache") as caught:
        HubWeights("owner/absent", ("a.safetensors",)).check({})
    assert time.perf_counter() - start < 8
    assert caught.value.option == "backbone.pretrained"
    assert "offline" in str(caught.value)


def test_cached_weights_need_no_hub_and_are_named_by_their_hash(cache: Path, weights: Path) -> None:
    content = weights.read_bytes()
    put_in_cache(cache, "owner/name", "b.safetensors", content)
    hub = HubWeights("owner/name", ("a.safetensors", "b.safetensors"))
    hub.check(SHAPES)
    assert hub.sha256() == hashlib.sha256(content).hexdigest()
    assert hub.fetch().read_bytes() == content


def test_cached_weights_are_checked_like_local_ones(cache: Path, weights: Path) -> None:
    blob = put_in_cache(cache, "owner/name", "a.safetensors", weights.read_bytes())
    hub = HubWeights("owner/name", ("a.safetensors",))
    with pytest.raises(InputError, match="not \\(1, 1\\)"):
        hub.check({"other": (1, 1)})
    cut(blob)
    with pytest.raises(InputError, match=r"whole \.safetensors file"):
        hub.check(SHAPES)


def test_a_bit_flipped_in_the_cache_is_found_when_the_weights_are_fetched(cache: Path, weights: Path) -> None:
    blob = put_in_cache(cache, "owner/name", "a.safetensors", weights.read_bytes())
    content = bytearray(blob.read_bytes())
    content[-3] ^= 4
    blob.write_bytes(content)
    hub = HubWeights("owner/name", ("a.safetensors",))
    hub.check(SHAPES)
    with pytest.raises(InputError, match=f"damaged .* delete them and run again, got '{blob}'"):
        hub.fetch()


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"a":' * 100_000, b'{"model": 1}'], ids=range(5))
def test_a_damaged_record_of_a_conversion_is_refused(content: bytes, weights: Path) -> None:
    record_path(weights).write_bytes(content)
    with pytest.raises(InputError, match="the record of a conversion must be as it was written"):
        read_record(weights)


def test_a_header_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    deep = b'{"a":' * 100_000
    path = tmp_path / "deep.safetensors"
    path.write_bytes(len(deep).to_bytes(8, "little") + deep)
    with pytest.raises(InputError, match="its header can't be read"):
        LocalWeights(path).check({})
