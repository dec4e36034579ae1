"""The check of OpenAI's weights, on a small stand-in and a few images of each set."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from experiments import verify_openai
from experiments.verify_openai import FIGURES, Figure, known_weights, loadable, main, verify
from fused_clip.backbone import convert
from fused_clip.support.errors import InputError
from fused_clip.support.files import sha256
from tests.openai_archive import NAME, add_architecture, save_archive
from tests.tiny_clip import save_tiny_clip


class Recorded:
    """A backbone of which only the record is known."""

    def __init__(self, weights: str, **more: str) -> None:
        self.record = {"weights": weights, **more}


HUBS = "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31"
OPENAIS_PT = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"


@pytest.mark.parametrize(
    ("backbone", "known", "words"),
    [
        (Recorded(HUBS), True, ": ok"),
        (Recorded("d" * 64), False, ": not of OpenAI"),
        (Recorded("d" * 64, converted_from=OPENAIS_PT), True, f"converted from {OPENAIS_PT}: ok"),
    ],
)
def test_weights_are_known_by_their_hash(
    backbone: Recorded, known: bool, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert known_weights(backbone) == known  # type: ignore[arg-type]
    assert words in capsys.readouterr().out


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides: a tiny model, and a mirror with 20 noisy test images of 10 digits."""
    folder = tmp_path_factory.mktemp("verify")
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(20):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)).save(file, "PNG")
        pictures.append({"bytes": file.getvalue(), "path": None})
    table = pa.table({"image": pictures, "label": [row % 10 for row in range(20)]})
    (folder / "data" / "mnist").mkdir(parents=True)
    for split in ("train", "test"):
        pq.write_table(table, folder / "data" / "mnist" / f"{split}-0.parquet")
    model = save_tiny_clip(folder / "model")
    return [
        "backbone=compact", f"backbone.model=local-dir:{model}", "backbone.precision=float32",
        f"data_dir={folder / 'data'}", f"output_dir={folder / 'outputs'}",
    ]  # fmt: skip


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.slow
def test_each_set_is_compared_with_both_preprocessings(
    stand_in: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_openai, "known_weights", lambda backbone: True)
    assert verify([Figure("mnist", "openai_mnist", 50.0, 50.0)], stand_in)
    own, paper = lines(capsys)
    assert own.endswith("published 50.0 %: ok")
    assert "% as in the paper, " in paper
    assert not verify([Figure("mnist", "openai_mnist", 101.0, 0.5)], stand_in)
    assert lines(capsys)[0].endswith("published 101.0 %: off by more than 0.5")


def test_weights_of_another_hash_are_not_verified_whatever_they_score(
    stand_in: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert not verify([Figure("mnist", "openai_mnist", 50.0, 50.0)], stand_in)
    assert lines(capsys)[0].endswith(": not of OpenAI")


@pytest.mark.parametrize(
    ("paper", "words"), [(87.5, "-2.50: as expected"), (80.0, "unexpected: more than 3.0")]
)
def test_the_papers_preprocessing_may_differ_a_little(
    paper: float, words: str, stand_in: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def accuracy(figure: Figure, backbone: object, overrides: Sequence[str]) -> float:
        return paper if "backbone.preprocessing=paper" in overrides else 90.0

    monkeypatch.setattr(verify_openai, "accuracy", accuracy)
    verify([Figure("mnist", "openai_mnist", 90.0, 0.5)], stand_in)
    assert words in lines(capsys)[-1]


def test_a_pt_is_converted_for_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_architecture(tmp_path)
    archive = save_archive(tmp_path / "tiny.pt")
    monkeypatch.setattr(convert, "published", lambda: {str(sha256(archive)): NAME})
    monkeypatch.setattr(verify_openai, "MODEL", NAME)
    with loadable(archive) as file:
        assert file.suffix == ".safetensors"
        assert file.is_file()
    assert not file.exists()
    with loadable(file) as same:
        assert same == file


def test_a_pt_of_another_model_is_refused(tmp_path: Path) -> None:
    archive = save_archive(tmp_path / "ViT-B-32.pt")
    with pytest.raises(InputError, match="must have a SHA-256 that OpenAI published"), loadable(archive):
        pass


def test_without_hub_and_file_it_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(SystemExit, match=r"^Error: backbone.pretrained: .* not in the hub's cache.*offline"):
        main(["--output-dir", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^Error: backbone.pretrained: must be an existing file"):
        main(["--output-dir", str(tmp_path), "--weights", str(tmp_path / "gone.safetensors")])


def test_every_set_of_the_paper_has_a_published_figure() -> None:
    assert {one.dataset for one in FIGURES} == {"mnist", "cifar10", "cifar100"}
