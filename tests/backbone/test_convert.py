"""Conversion of a file in the form of OpenAI's, against open_clip's own loader of such files."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fused_clip.backbone import OpenClipBackbone, convert
from fused_clip.backbone.torchscript import read_tensors
from fused_clip.backbone.weights import record_path
from fused_clip.report.studies.published import load
from fused_clip.support.errors import InputError
from fused_clip.support.files import sha256
from tests.openai_archive import NAME, add_architecture, save_archive

PAPERS = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
VIT_B_32 = f"ViT-B-32-quickgelu {PAPERS}"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openai")
    add_architecture(folder)
    return save_archive(folder / "tiny.pt")


@pytest.fixture(autouse=True)
def known(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive counts as published."""
    monkeypatch.setattr(convert, "published", lambda: {str(sha256(archive)): NAME})


@pytest.fixture
def own(archive: Path, tmp_path: Path) -> Path:
    """A copy of the archive that a test may change."""
    return Path(shutil.copy(archive, tmp_path / "own.pt"))


def rewrite(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Write the archive again, each of its files changed."""
    with zipfile.ZipFile(path) as before:
        contents = {name: change(name, before.read(name)) for name in before.namelist()}
    with zipfile.ZipFile(path, "w") as after:
        for name, content in contents.items():
            after.writestr(name, content)


def convert_own(own: Path) -> Path:
    """Convert a changed copy, whatever its hash."""
    out = own.with_suffix(".safetensors")
    convert.convert(own, out, expected=sha256(own), model=NAME)
    return out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch.jit is deprecated
def test_weights_and_embeddings_are_those_of_open_clips_loader(archive: Path, tmp_path: Path) -> None:
    import open_clip
    import torch
    from safetensors.torch import save_file

    oracle = open_clip.load_openai_model(str(archive), precision="fp32", device="cpu")
    out = tmp_path / "deeper" / "tiny.safetensors"
    made = convert.convert(archive, out)
    assert made == (NAME, sha256(out), "tiny.pt", sha256(archive))
    save_file(oracle.state_dict(), tmp_path / "oracle.safetensors")
    assert out.read_bytes() == (tmp_path / "oracle.safetensors").read_bytes()
    assert {str(tensor.dtype) for tensor in load_file(out).values()} == {"float32"}

    backbone = OpenClipBackbone(NAME, str(out), precision="float32", device="cpu", batch_size=4)
    backbone.check()
    pictures = list(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))
    with torch.inference_mode():
        images = oracle.encode_image(backbone.prepare(pictures)).numpy()
        texts = oracle.encode_text(open_clip.get_tokenizer(NAME)(["a cat", "a dog"])).numpy()
    np.testing.assert_allclose(backbone.encode_images(pictures), images, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(backbone.encode_texts(["a cat", "a dog"]), texts, rtol=1e-4, atol=1e-5)
    assert backbone.record["converted_from"] == sha256(archive)
    assert backbone.record["weights"] == made.weights_sha256


def test_the_archive_is_mostly_float16(archive: Path) -> None:
    tensors = read_tensors(archive)
    assert tensors["visual.conv1.weight"].dtype == np.float16
    assert tensors["visual.ln_pre.weight"].dtype == np.float32
    assert int(tensors["input_resolution"]) == 32


@pytest.fixture
def really_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()


@pytest.mark.usefixtures("really_published")
def test_the_published_hashes_are_those_of_openais_addresses() -> None:
    found = convert.published()
    assert found[PAPERS] == "ViT-B-32-quickgelu"
    assert PAPERS in load().weights
    assert {"ViT-B-16-quickgelu", "ViT-L-14-quickgelu", "RN50-quickgelu"} < set(found.values())
    assert all(len(digest) == 64 for digest in found)


@pytest.mark.usefixtures("really_published")
def test_another_hash_is_refused_and_both_are_named(archive: Path, tmp_path: Path) -> None:
    renamed = Path(shutil.copy(archive, tmp_path / "ViT-B-32.pt"))
    for path, expected in ((archive, f"ViT-B-32-quickgelu {PAPERS[:12]}..."), (renamed, f" ({VIT_B_32})")):
        with pytest.raises(InputError) as caught:
            convert.convert(path, tmp_path / "out.safetensors")
        assert expected in str(caught.value)
        assert f"{path.name} with {sha256(archive)}" in str(caught.value)
        assert "--sha256" in str(caught.value)
    assert list(tmp_path.iterdir()) == [renamed]


def test_a_stated_hash_is_checked(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"which is {sha256(archive)}, got 'abc'"):
        convert.convert(archive, tmp_path / "out.safetensors", expected="abc", model=NAME)


def test_a_file_that_is_not_published_needs_its_architecture(own: Path) -> None:
    rewrite(own, lambda name, content: content)
    with pytest.raises(InputError, match=rf"^--model: must be the architecture .* choose from: {NAME}"):
        convert.convert(own, own.with_suffix(".safetensors"), expected=sha256(own))
    assert load_file(convert_own(own)).keys() > {"logit_scale", "visual.proj"}


def test_a_file_of_another_architecture_is_refused(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "published", lambda: {str(sha256(archive)): "ViT-B-16-quickgelu"})
    with pytest.raises(InputError, match=r"tensors of ViT-B-16-quickgelu; 301 differ: ln_final\.bias"):
        convert.convert(archive, tmp_path / "out.safetensors")
    with pytest.raises(InputError, match=r"--model: must be the architecture of tiny\.pt, got 'ViT-B-32'"):
        convert.convert(archive, tmp_path / "out.safetensors", model="ViT-B-32")


def test_a_missing_tensor_is_named(own: Path) -> None:
    rewrite(own, lambda name, content: content.replace(b"logit_scale", b"logit_scalf"))
    with pytest.raises(InputError, match=r"logit_scale missing, not \(\); logit_scalf \(\), not there"):
        convert_own(own)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def be_a_page(path: Path) -> None:
    path.write_text("<html>Not found</html>")


def be_another_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "words")


def be_a_state_dict(path: Path) -> None:
    import torch

    torch.save({"logit_scale": torch.ones(())}, path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "cut off, or of another kind"),
        (be_a_page, "these 22 bytes are cut off, or of another kind"),
        (be_another_zip, "is another zip file"),
        (be_a_state_dict, r"a checkpoint of torch.save \(a plain state dict\)"),
        (Path.unlink, "must be an existing file"),
    ],
)
def test_a_file_of_another_form_is_named_before_its_hash(
    own: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(own)
    with pytest.raises(InputError, match=f"^source: .*{words}"):
        convert.convert(own, own.with_suffix(".safetensors"))
    assert not own.with_suffix(".safetensors").exists()


class _Call:
    """Pickled as a call of ``os.mkdir``."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.folder,)


def test_an_archive_runs_no_code(own: Path, tmp_path: Path) -> None:
    trap = pickle.dumps(_Call(tmp_path / "made"), protocol=2)
    rewrite(own, lambda name, content: trap if name.endswith("data.pkl") else content)
    with pytest.raises(InputError, match=r"it names (posix|nt)\.mkdir"):
        convert_own(own)
    assert not (tmp_path / "made").exists()


def test_a_tensor_can_not_reach_beyond_its_storage(own: Path) -> None:
    rewrite(own, lambda name, content: content[:-2] if name.endswith("/data/3") else content)
    with pytest.raises(InputError, match="must be an intact TorchScript archive"):
        convert_own(own)


def test_a_flipped_bit_is_found_without_a_published_hash(own: Path) -> None:
    content = bytearray(own.read_bytes())
    content[len(content) // 3] ^= 8  # within the token embedding, which fills most of the file
    own.write_bytes(content)
    with pytest.raises(InputError, match="Bad CRC-32"):
        convert_own(own)


def test_a_file_is_never_overwritten(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_text("precious")
    for wrong in (out, tmp_path / "out.pt"):
        with pytest.raises(InputError, match=r"a new file that ends with \.safetensors"):
            convert.convert(archive, wrong)
    assert out.read_text() == "precious"


# The record, when the weights are used


@pytest.fixture
def converted(archive: Path, tmp_path: Path) -> Path:
    convert.convert(archive, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def test_converted_weights_that_changed_are_refused(converted: Path) -> None:
    content = bytearray(converted.read_bytes())
    content[-1] ^= 1
    converted.write_bytes(content)
    with pytest.raises(InputError, match="are damaged: their SHA-256 is not the one stated with them"):
        OpenClipBackbone(NAME, str(converted)).check()


def test_converted_weights_are_refused_by_another_architecture(converted: Path) -> None:
    """With ViT-B-32 in place of ViT-B-32-quickgelu they would load, and give wrong embeddings."""
    with pytest.raises(InputError, match=rf"^backbone.model: .*, got 'ViT-B-32'\. Use backbone.model={NAME}"):
        OpenClipBackbone("ViT-B-32", str(converted)).check()


@pytest.mark.parametrize("content", ["{", "[]", '{"model": "x"}'])
def test_a_record_that_can_not_be_read_is_refused(converted: Path, content: str) -> None:
    record_path(converted).write_text(content)
    with pytest.raises(InputError, match="the record of a conversion must be as it was written"):
        OpenClipBackbone(NAME, str(converted)).check()


def test_without_the_record_weights_have_no_origin(converted: Path) -> None:
    record_path(converted).unlink()
    assert "converted_from" not in OpenClipBackbone(NAME, str(converted)).record


def test_the_command_prints_what_to_do_next(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiny.safetensors"
    assert convert.main([str(archive), str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"backbone.model={NAME} backbone.pretrained={out}" in printed
    assert json.loads(record_path(out).read_text())["weights_sha256"] in printed
    with pytest.raises(SystemExit, match=r"^Error: out: must be a new file"):
        convert.main([str(archive), str(out)])
