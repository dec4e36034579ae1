"""OpenClipBackbone on tiny models with random weights, against open_clip's own code."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fused_clip.backbone import OpenClipBackbone, device, model_source, towers
from fused_clip.support.errors import InputError
from tests.tiny_clip import save_tiny_clip

Pictures = list[NDArray[np.uint8]]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def own(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may change."""
    return Path(shutil.copytree(tiny, tmp_path / "own"))


def cosines(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine of each row with the same row of the others."""
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    return (rows * others).sum(axis=1) / norms  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    rng = np.random.default_rng(0)
    shapes = [(32, 32), (20, 45), (64, 48)]
    smooth = [rng.integers(0, 256, (h // 4, w // 4, 3), dtype=np.uint8) for h, w in shapes for _ in range(4)]
    return [
        np.asarray(Image.fromarray(image).resize((image.shape[1] * 4, image.shape[0] * 4)))
        for image in smooth
    ]


def make(folder: Path, **changes: Any) -> OpenClipBackbone:
    settings: dict[str, Any] = {"precision": "float32", "device": "cpu", "batch_size": 8}
    return OpenClipBackbone(f"local-dir:{folder}", **(settings | changes))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# What comes out


def test_embeddings_are_open_clips_own(tiny: Path, pictures: Pictures) -> None:
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny}")
    texts = ["a cat", "This is a digit 3"]
    with torch.inference_mode():
        model.eval()
        images = torch.stack([transform(Image.fromarray(image)) for image in pictures])
        want_images, want_texts = (
            model.encode_image(images).numpy(),
            model.encode_text(tokenizer(texts)).numpy(),
        )
    backbone = make(tiny)
    got_images, got_texts = backbone.encode_images(pictures), backbone.encode_texts(texts)
    assert got_images.dtype == got_texts.dtype == np.float32
    assert got_images.shape == (len(pictures), backbone.dim)
    np.testing.assert_allclose(got_texts, want_texts, rtol=1e-4, atol=1e-5)
    cosine = (
        (got_images * want_images).sum(1)
        / np.linalg.norm(got_images, axis=1)
        / np.linalg.norm(want_images, axis=1)
    )
    assert cosine.min() > 0.9999
    np.testing.assert_allclose(got_images, want_images, atol=0.02 * np.abs(want_images).max())


def test_rows_are_not_normalised(tiny: Path, pictures: Pictures) -> None:
    backbone = make(tiny)
    for rows in (backbone.encode_images(pictures), backbone.encode_texts(["a", "b"])):
        assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() > 0.1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_rows_bytes_do_not_depend_on_its_company(tiny: Path, pictures: Pictures, precision: str) -> None:
    backbone = make(tiny, precision=precision)
    together = backbone.encode_images(pictures)
    for chosen in ([3], [11, 0, 7], list(range(9)), list(reversed(range(12)))):
        alone = backbone.encode_images([pictures[i] for i in chosen])
        assert alone.tobytes() == together[chosen].tobytes()
    texts = [f"text {i}" for i in range(20)]
    assert backbone.encode_texts(texts)[17:].tobytes() == backbone.encode_texts(texts[17:]).tobytes()


def test_bfloat16_rows_point_where_float32_rows_do(tiny: Path, pictures: Pictures) -> None:
    exact, rough = (make(tiny, precision=p).encode_images(pictures) for p in ("float32", "bfloat16"))
    assert cosines(exact, rough).min() > 0.999
    assert not np.array_equal(exact, rough)


def test_the_papers_preprocessing_is_another_one(tiny: Path, pictures: Pictures) -> None:
    assert not np.allclose(
        make(tiny).encode_images(pictures), make(tiny, preprocessing="paper").encode_images(pictures)
    )


def test_a_convolutional_tower_of_timm_works_too(tmp_path: Path, pictures: Pictures) -> None:
    vision = {
        "timm_model_name": "resnet10t",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 32,
    }
    backbone = make(save_tiny_clip(tmp_path / "conv", vision_cfg=vision), precision="bfloat16")
    backbone.check()
    rows = backbone.encode_images(pictures)
    assert rows.shape == (12, 24)
    assert np.isfinite(rows).all()
    assert rows[:5].tobytes() == backbone.encode_images(pictures[:5]).tobytes()


def test_nothing_in_gives_no_rows(tiny: Path) -> None:
    backbone = make(tiny)
    assert backbone.encode_images([]).shape == backbone.encode_texts([]).shape == (0, 24)


# Texts


def test_a_text_longer_than_the_context_is_refused_not_cut(tiny: Path) -> None:
    backbone = make(tiny)
    backbone.encode_texts(["a " * 14])
    with pytest.raises(InputError, match="fit the 16 tokens that tiny reads, and has 17, got 'a a "):
        backbone.encode_texts(["short", "a " * 15])
    with pytest.raises(InputError, match="supercalifragilistic"):
        backbone.encode_texts(["supercalifragilisticexpialidocious" * 4])


def test_the_end_of_a_cut_text_would_have_mattered(tiny: Path) -> None:
    backbone = make(tiny)
    rows = backbone.encode_texts(["a " * 13 + "cat", "a " * 13 + "dog"])
    assert not np.allclose(rows[0], rows[1])


# The key


def test_the_fingerprint_is_the_same_for_the_same_and_needs_no_torch(tiny: Path) -> None:
    code = (
        "import sys; from fused_clip.backbone import OpenClipBackbone as B\n"
        f"b = B('local-dir:{tiny}', precision='float32', device='cpu', batch_size=8); b.check()\n"
        "assert not {'torch', 'open_clip', 'timm'} & set(sys.modules)\n"
        "print(b.name, b.dim, b.fingerprint)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["tiny", "24", make(tiny).fingerprint]


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"batch_size": 4}, {"preprocessing": "paper"}], ids=str
)
def test_an_option_that_changes_bytes_changes_the_fingerprint(tiny: Path, changes: dict[str, Any]) -> None:
    assert make(tiny, **changes).fingerprint != make(tiny).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["model_cfg"].update(quick_gelu=True),
        lambda config: config["preprocess_cfg"].update(mean=[0.5, 0.5, 0.5]),
        lambda config: config["preprocess_cfg"].update(interpolation="bilinear"),
        lambda config: config["preprocess_cfg"].update(resize_mode="squash"),
    ],
    ids=["activation", "mean", "interpolation", "resize"],
)
def test_a_config_that_changes_bytes_changes_the_fingerprint(
    own: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    before = make(own).fingerprint
    edit(own / "open_clip_config.json", change)
    assert make(own).fingerprint != before


def test_one_bit_of_the_weights_changes_the_fingerprint(own: Path) -> None:
    before = make(own).fingerprint
    path = own / "open_clip_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert make(own).fingerprint != before


@pytest.mark.parametrize("library", ["open_clip_torch", "pillow", "timm", "torch", "torchvision"])
def test_a_librarys_version_changes_the_fingerprint(
    tiny: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make(tiny).fingerprint
    monkeypatch.setattr(towers, "version", lambda name: "99" if name == library else metadata.version(name))
    assert make(tiny).fingerprint != before


def test_a_text_tower_of_transformers_has_its_version_in_the_fingerprint(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(own / "open_clip_config.json", lambda c: c["model_cfg"]["text_cfg"].update(hf_model_name="roberta"))
    found = set()
    for number in ("1", "2"):
        known = {"transformers": number}
        monkeypatch.setattr(towers, "version", lambda name, known=known: known.get(name, "0"))
        found.add(make(own).fingerprint)
    assert len(found) == 2


def test_what_the_cpu_can_do_changes_the_fingerprint(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another CPU has other kernels, which round otherwise."""
    found = set()
    for flags in ({"avx2"}, {"avx2", "avx512f"}, {"avx2", "avx512f", "avx512_bf16"}):
        for irrelevant in ({"sse"}, {"sse", "ht"}):
            monkeypatch.setattr(device, "_cpu_flags", lambda flags=flags | irrelevant: flags)
            found.add(make(tiny).fingerprint)
    assert len(found) == 3
    assert device.kernels("cuda:0") == device.kernels("mps") == ""


def test_where_the_model_lies_does_not_change_the_fingerprint(own: Path, tiny: Path) -> None:
    assert make(own).fingerprint == make(tiny).fingerprint


# What the weights say of themselves


def test_the_training_note_tells_sets_and_words(own: Path) -> None:
    assert make(own).trained_on == frozenset()
    assert make(own).vocabulary is None
    assert make(own).labelled_classes == frozenset()
    note = {
        "trained_on": ["mnist/train", "cifar10/train"],
        "vocabulary": ["digit", "cat"],
        "classes": {"mnist": ["0", "1"], "cifar10": ["cat"]},
        "groups": ["animal"],
    }
    (own / "training.json").write_text(json.dumps(note))
    assert make(own).labelled_classes == {"0", "1", "cat", "animal"}
    assert make(own).trained_on == {"mnist/train", "cifar10/train"}
    assert make(own).vocabulary == {"digit", "cat"}


def test_other_weights_in_a_models_folder_architecture(own: Path, tmp_path: Path, pictures: Pictures) -> None:
    (own / "training.json").write_text(json.dumps({"trained_on": ["mnist/train"]}))
    other = save_tiny_clip(tmp_path / "other", seed=1)
    mixed = make(own, pretrained=str(other / "open_clip_model.safetensors"))
    mixed.check()
    assert mixed.encode_images(pictures).tobytes() == make(other).encode_images(pictures).tobytes()
    assert mixed.trained_on == frozenset()
    assert mixed.fingerprint not in {make(own).fingerprint}


def test_a_packaged_model_is_found_by_its_folder(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, pictures: Pictures
) -> None:
    monkeypatch.setattr(model_source, "ASSETS", tiny.parent)
    shipped = OpenClipBackbone("tiny", precision="float32", device="cpu", batch_size=8)
    assert shipped.fingerprint == make(tiny).fingerprint
    assert shipped.name == "tiny"


# open_clip's own models


def test_a_run_with_a_model_of_its_own_does_not_import_open_clip() -> None:
    code = (
        "import sys; from fused_clip.backbone import OpenClipBackbone as B\n"
        "b = B('compact', device='cpu'); b.check(); b.fingerprint\n"
        "assert not {'torch', 'open_clip', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def listed(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tiny architecture among open_clip's, with one tag that needs QuickGELU and one that does not."""
    import open_clip

    config = json.loads((tiny / "open_clip_config.json").read_text())["model_cfg"]
    for name, extra in (("Tiny", {}), ("Tiny-quickgelu", {"quick_gelu": True})):
        path = tmp_path / "model_configs" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(config | extra))
        open_clip.add_model_config(path)
    openai, laion = {"hf_hub": "o/n/", "quick_gelu": True}, {"hf_hub": "o/n/w.bin", "std": [1, 1, 1]}
    tags = {"openai": openai, "laion": laion}
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda _: list(tags))
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda _, tag: tags[tag])
    return "Tiny"


def test_local_weights_for_a_listed_architecture(listed: str, tiny: Path, pictures: Pictures) -> None:
    weights = str(tiny / "open_clip_model.safetensors")
    backbone = OpenClipBackbone(listed, weights, precision="float32", device="cpu", batch_size=8)
    backbone.check()
    assert backbone.name == "Tiny/open_clip_model"
    texts = ["a cat", "a dog"]
    assert backbone.encode_texts(texts).tobytes() == make(tiny).encode_texts(texts).tobytes()
    quick = OpenClipBackbone("Tiny-quickgelu", weights, precision="float32", device="cpu", batch_size=8)
    assert not np.allclose(quick.encode_images(pictures), backbone.encode_images(pictures), atol=1e-4)


def test_a_tag_brings_its_own_preprocessing_and_prefers_safetensors(listed: str) -> None:
    found = model_source.find_source(listed, "laion")
    assert found.pixels["std"] == [1, 1, 1]
    assert found.weights == model_source.HubWeights("o/n", ("w.safetensors", "w.bin"))
    assert model_source.find_source("Tiny-quickgelu", "OpenAI").weights == model_source.HubWeights(
        "o/n", model_source._HUB_FILES
    )


def test_a_quickgelu_mismatch_is_refused_and_names_the_right_model(listed: str) -> None:
    with pytest.raises(InputError, match=r"QuickGELU, and Tiny lacks it.*backbone.model=Tiny-quickgelu"):
        OpenClipBackbone("Tiny", "openai").check()
    with pytest.raises(InputError, match=r"QuickGELU, and Tiny-quickgelu has it.*backbone.model=Tiny"):
        OpenClipBackbone("Tiny-quickgelu", "laion").check()


def test_openais_vit_b_32_with_plain_gelu_is_refused() -> None:
    with pytest.raises(InputError, match=r"Use backbone\.model=ViT-B-32-quickgelu"):
        OpenClipBackbone("ViT-B-32", "openai").check()


def test_a_model_of_the_hub_is_taken_from_its_cache(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--o--n"
    shutil.copytree(tiny, folder / "snapshots" / "abc")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    backbone = OpenClipBackbone("hf-hub:o/n", precision="float32", device="cpu", batch_size=8)
    backbone.check()
    assert backbone.name == "o/n"
    assert backbone.fingerprint == make(tiny).fingerprint
    assert backbone.encode_texts(["a"]).tobytes() == make(tiny).encode_texts(["a"]).tobytes()


# What is refused


@pytest.mark.parametrize(
    ("model", "pretrained", "option", "message"),
    [
        ("ViT-B-33", "openai", "backbone.model", r"choose from: .*did you mean 'ViT-B-32'"),
        ("local-dir:/nowhere/at/all", None, "backbone.model", "must be a folder with open_clip_config.json"),
        ("ViT-B-32", None, "backbone.pretrained", "must name the weights of ViT-B-32.*laion2b_s34b_b79k"),
        ("ViT-B-32-quickgelu", "openia", "backbone.pretrained", "did you mean 'openai'"),
        ("ViT-B-32", "/nowhere/w.safetensors", "backbone.pretrained", "must be an existing file"),
        ("ViT-B-32", "weights.pt", "backbone.pretrained", "a pickle can run code"),
    ],
)
def test_what_is_not_there_is_refused_by_option(
    model: str, pretrained: str | None, option: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        OpenClipBackbone(model, pretrained).check()
    assert caught.value.option == option


def test_a_folder_without_an_architecture_is_refused(own: Path) -> None:
    edit(own / "open_clip_config.json", lambda config: config["model_cfg"].pop("embed_dim"))
    with pytest.raises(InputError, match="must have model_cfg with embed_dim"):
        make(own).check()
    (own / "open_clip_config.json").write_text("{")
    with pytest.raises(InputError, match=r"open_clip_config\.json can't be read"):
        make(own).check()


def test_a_folder_without_weights_is_refused(own: Path) -> None:
    (own / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match="must be an existing file"):
        make(own).check()


def test_weights_of_another_architecture_are_refused_by_their_header(own: Path, tmp_path: Path) -> None:
    text = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    other = save_tiny_clip(tmp_path / "other", text_cfg=text)
    with pytest.raises(InputError, match=r"token_embedding.weight is \(49408, 64\) in .*, not \(49408, 32\)"):
        make(own, pretrained=str(other / "open_clip_model.safetensors")).check()


def test_weights_that_lack_a_layer_are_refused_when_they_are_loaded(own: Path) -> None:
    edit(own / "open_clip_config.json", lambda config: config["model_cfg"]["vision_cfg"].update(layers=3))
    backbone = make(own)
    backbone.check()
    with pytest.raises(InputError, match=r"weights must be those of own .*resblocks\.2") as caught:
        backbone.load()
    assert caught.value.option == "backbone.pretrained"


def test_a_tokenizer_that_needs_transformers_says_so(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(
        own / "open_clip_config.json",
        lambda config: config["model_cfg"]["text_cfg"].update(hf_tokenizer_name="x"),
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install transformers"):
        make(own).check()


def test_weights_that_are_not_those_of_their_training_note_are_refused(own: Path) -> None:
    weights = own / "open_clip_model.safetensors"
    note = {"weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    (own / "training.json").write_text(json.dumps(note))
    make(own).check()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    for use in (make(own).check, make(own).load):
        with pytest.raises(InputError, match=r"the weights of own are damaged"):
            use()


# Device and precision


def test_a_device_that_is_not_there_is_refused(tiny: Path) -> None:
    import torch

    missing = "mps" if torch.cuda.is_available() else "cuda:0"
    with pytest.raises(InputError, match=f"must be available to torch, got '{missing}'; choose from: auto, "):
        make(tiny, device=missing).check()


@pytest.mark.parametrize("name", ["cuda:2", "cuda:one", "cuda:", "mps:0", "gpu"])
def test_a_gpu_is_one_of_those_that_are_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for kind in (torch.cuda, torch.backends.mps):
        monkeypatch.setattr(kind, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.choose_device("cuda:1") == "cuda:1"
    with pytest.raises(InputError, match=f"got '{name}'; choose from: auto, cuda, mps, cpu"):
        device.choose_device(name)


@pytest.mark.parametrize(
    ("flags", "precision"), [({"avx2", "avx512_bf16"}, "bfloat16"), ({"avx2"}, "float32")]
)
def test_auto_precision_on_a_cpu_is_what_it_multiplies_in(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], precision: str
) -> None:
    monkeypatch.setattr(device, "_cpu_flags", lambda: flags)
    assert device.choose_precision("auto", "cpu") == precision
    assert device.choose_precision("float32", "cpu") == "float32"
    assert device.choose_precision("bfloat16", "cpu") == "bfloat16"


def test_auto_device_asks_torch_only_where_there_may_be_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(device, "_without_gpu", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.choose_device("auto") == "cuda"
    monkeypatch.setattr(device, "_without_gpu", lambda: True)
    assert device.choose_device("auto") == "cpu"


@pytest.fixture(params=["cpu", "cuda"])
def hardware(request: pytest.FixtureRequest) -> str:
    """A device; without CUDA its tests are skipped."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    return str(request.param)


def test_half_precision_gives_the_rows_of_float32(tiny: Path, pictures: Pictures, hardware: str) -> None:
    exact = make(tiny, precision="float32", device="cpu")
    half = make(tiny, precision="bfloat16", device=hardware)
    pairs = [(exact.encode_images(pictures), half.encode_images(pictures), 0.01)]
    pairs += [(exact.encode_texts(["a cat", "a dog"]), half.encode_texts(["a cat", "a dog"]), 0.02)]
    for rows, others, most in pairs:
        apart = np.linalg.norm(others - rows, axis=1) / np.linalg.norm(rows, axis=1)
        assert 1e-5 < apart.max() < most


def test_a_device_gives_the_rows_of_the_cpu(tiny: Path, pictures: Pictures, hardware: str) -> None:
    """Reading, preparing on the device and embedding, from end to end."""
    from fused_clip.backbone.batches import embed_images
    from tests.conftest import ArrayRows

    rows = make(tiny, device=hardware).encode_images(pictures)
    np.testing.assert_allclose(rows, make(tiny, device="cpu").encode_images(pictures), atol=1e-4)
    images, backbone = ArrayRows("toy", 20), make(tiny, device=hardware)
    (embedded,) = embed_images(backbone, images, [range(20)])
    np.testing.assert_array_equal(embedded, backbone.encode_images(images.read(np.arange(20))))


def test_weights_that_open_clip_does_not_find_are_not_drawn_at_random(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the folder can't be listed after the check: open_clip only warns."""
    backbone = OpenClipBackbone(f"local-dir:{own}", device="cpu")
    backbone.check()
    monkeypatch.setattr(type(backbone._source), "check", lambda source: None)
    (weights,) = own.glob("*.safetensors")
    weights.unlink()
    with pytest.raises(
        InputError, match=r"backbone\.pretrained: weights must be those of .*could not be loaded"
    ):
        backbone.load()


@pytest.mark.slow
def test_the_collector_of_a_command_looks_at_no_module_of_open_clip() -> None:
    code = """
import gc
from fused_clip.backbone import OpenClipBackbone
from fused_clip.support import collector

collector.rest()
collector.wake()
before = gc.get_freeze_count()
OpenClipBackbone("compact").encode_texts(["a cat"])
print(gc.get_freeze_count() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100_000
