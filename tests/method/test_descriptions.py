"""Prompts from a file: sentences and descriptors, and every file that is none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import prompt
from fused_clip.method.descriptions import descriptions
from fused_clip.method.ensembles import mean_similarity
from fused_clip.method.text import ensemble
from fused_clip.support.errors import InputError
from tests.conftest import make_dataset
from tests.fakes import FakeBackbone

TEXTS: dict[Any, Any] = {
    "truck": ["A truck has wheels."],
    "cat": ["A cat has {whiskers}.", "A cat purrs."],
    "dog": ["A dog barks."],
}


def write(folder: Path, content: Any, name: str = "texts.json") -> str:
    path = folder / name
    path.write_text(json.dumps(content) if name.endswith(".json") else yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize("name", ["texts.json", "texts.yaml", "texts"])
def test_sentences_stand_as_they_are(toy: ImageDataset, tmp_path: Path, name: str) -> None:
    prompts = descriptions(toy, write(tmp_path, TEXTS, name))
    assert prompts.texts == tuple(tuple(TEXTS[name]) for name in toy.class_names)
    assert prompts.target_names == toy.class_names
    assert prompts.distinguishes_classes


def test_descriptors_complete_a_template(toy: ImageDataset, tmp_path: Path) -> None:
    file = write(tmp_path, {"cat": ["a tail", "{fur}"], "dog": ["a tail"], "truck": ["wheels"]})
    prompts = descriptions(toy, file, template="{a} {}, which has {description}")
    assert prompts.texts[0] == ("a cat, which has a tail", "a cat, which has {fur}")
    assert prompts.texts[1] == ("a dog, which has a tail",)


def test_groups_may_be_described(toy: ImageDataset, tmp_path: Path) -> None:
    prompts = descriptions(
        toy, write(tmp_path, {"animal": ["alive"], "vehicle": ["it moves"]}), targets="group"
    )
    assert prompts.target_names == ("animal", "vehicle")
    assert prompts.target_of_class.tolist() == [0, 0, 1]


def test_names_that_yaml_reads_as_numbers_are_names(tmp_path: Path) -> None:
    digits = make_dataset([[0, 1], [0, 1]], ("0", "1"), {})
    assert descriptions(digits, write(tmp_path, {0: ["round"], 1: ["a line"]}, "t.yaml")).texts[1] == (
        "a line",
    )


def test_one_sentence_is_zero_shot(toy: ImageDataset, tmp_path: Path) -> None:
    captions = prompt.task(toy).texts
    file = write(tmp_path, dict(zip(toy.class_names, map(list, captions), strict=True)))
    assert descriptions(toy, file).texts == captions


def test_one_descriptor_is_one_sentence(toy: ImageDataset, tmp_path: Path) -> None:
    """Mean similarities (DCLIP) then answer as averaged texts (CuPL) do."""
    one = {name: [f"the look of number {number}"] for number, name in enumerate(toy.class_names)}
    prompts = descriptions(toy, write(tmp_path, one), template="{}, which has {description}")
    members = [FakeBackbone().encode_texts(texts) for texts in prompts.texts]
    averaged = np.stack([ensemble(part) for part in members])
    by_similarity = mean_similarity(members)
    for rows in (averaged, by_similarity):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(by_similarity, averaged, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dog": None}, r"'dog' has none"),
        ({"dog": []}, r"'dog' must have a list of one text or more, none empty, got \[\]"),
        ({"dog": "A dog barks."}, r"'dog' must have a list of one text or more"),
        ({"dog": ["barks", ""]}, r"'dog' must have a list of one text or more, none empty"),
        ({"dog": ["barks", 3]}, r"'dog' must have a list of one text or more"),
        ({True: ["barks"]}, r"must be a name"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    toy: ImageDataset, tmp_path: Path, change: dict[Any, Any], message: str
) -> None:
    with pytest.raises(InputError, match=rf"^prompt\.file: .*{message}"):
        descriptions(toy, write(tmp_path, TEXTS | change, "texts.yaml"))


def test_names_that_are_no_targets_are_left_out(
    toy: ImageDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file for 100 classes serves a subset of them; a misspelt class is missing, and named."""
    more = write(tmp_path, TEXTS | {"cow": ["It moos."]})
    with caplog.at_level("INFO"):
        assert descriptions(toy, more).texts == descriptions(toy, write(tmp_path, TEXTS)).texts
    assert "also describes cow, which are no targets" in caplog.text


def test_a_class_that_the_file_lacks_is_named(toy: ImageDataset, tmp_path: Path) -> None:
    file = write(tmp_path, {name: TEXTS[name] for name in ("cat", "truck")})
    with pytest.raises(
        InputError, match=r"^prompt\.file: every target needs a list of texts, and 'dog' has none"
    ):
        descriptions(toy, file)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", r"must be JSON or YAML"),
        ("a.json", b"[1]", r"must map each target to a list of texts"),
        ("a.yaml", b"a: [", r"must be JSON or YAML"),
        ("a.yaml", b"", r"must map each target"),
        ("a.yaml", b"\xff", r"must be JSON or YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(
    toy: ImageDataset, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"^prompt\.file: {message}"):
        descriptions(toy, str(tmp_path / name))


def test_a_file_that_is_not_there_is_refused(toy: ImageDataset, tmp_path: Path) -> None:
    for file in (str(tmp_path / "none.json"), str(tmp_path)):
        with pytest.raises(InputError, match=r"^prompt\.file: must be a file that can be read"):
            descriptions(toy, file)
    with pytest.raises(InputError, match=r"^prompt\.file: must be a JSON or YAML file"):
        descriptions(toy, None)


@pytest.mark.parametrize("template", ["{}", "a {} with {descripton}", "{description", "{description.x}"])
def test_a_template_without_the_description_is_refused(
    toy: ImageDataset, tmp_path: Path, template: str
) -> None:
    with pytest.raises(InputError, match=r"^prompt\.template: must .*\{description\}"):
        descriptions(toy, write(tmp_path, TEXTS), template=template)


def test_classes_need_descriptions_of_their_own(toy: ImageDataset, tmp_path: Path) -> None:
    same = {name: ["It is a thing."] for name in toy.class_names}
    with pytest.raises(InputError, match="'cat' and 'dog' must have different prompts"):
        descriptions(toy, write(tmp_path, same))
