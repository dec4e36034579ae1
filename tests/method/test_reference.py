"""YAMLs of references: what each states, and who is asked for them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fused_clip.method.reference import (
    ReferenceFacts,
    ReferenceOptions,
    known_references,
    read_references,
)
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError

YAMLS = sorted(conf_dir().glob("reference/*.yaml"))


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_a_reference_states_how_it_is_shown(path: Path) -> None:
    """A heading is short, an explanation is one line, and a title is no explanation."""
    own = ReferenceOptions.model_validate(yaml.safe_load(path.read_text()))
    assert 3 <= len(own.title) <= 30
    assert len(own.title) < len(own.explanation) <= 110
    assert "\n" not in own.explanation
    assert own.replace, "what is like the run in all is no reference"
    first = path.read_text().splitlines()[0]
    assert first == f"# @package reference.{path.stem}"


def test_titles_and_explanations_differ() -> None:
    known = known_references()
    assert set(known) == {path.stem for path in YAMLS}
    assert len({facts.title for facts in known.values()}) == len(known)
    assert len({facts.explanation for facts in known.values()}) == len(known)
    assert known["zero_shot"].accuracy == "reference/zero_shot_accuracy"


OWN: dict[str, Any] = {
    "title": "concatenated",
    "explanation": "image and text one after the other",
    "uses_labels": "as the run",
    "replace": {"fusion": "concatenation"},
}


def test_a_users_folder_adds_references_and_goes_before_the_packages(tmp_path: Path) -> None:
    folder = tmp_path / "reference"
    folder.mkdir()
    (folder / "concatenated.yaml").write_text(yaml.safe_dump(OWN))
    (folder / "zero_shot.yaml").write_text(yaml.safe_dump({**OWN, "title": "another"}))
    known = known_references([tmp_path])
    assert set(known) == {path.stem for path in YAMLS} | {"concatenated"}
    assert known["concatenated"] == ReferenceFacts(
        "concatenated", "concatenated", "image and text one after the other", "as the run"
    )
    assert known["zero_shot"].title == "another"


@pytest.mark.parametrize(
    "change",
    [
        {"title": ""},
        {"explanation": None},
        {"uses_labels": "maybe"},
        {"uses_labels": False},
        {"when": "sometimes"},
        {"replace": {"dataset": "digits"}},
        {"replace": {"fusion": ["mean"]}},
        {"random": "yes"},
        {"colour": "red"},
    ],
)
def test_a_yaml_that_is_no_reference_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "reference" / "wrong.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({**OWN, **change}))
    with pytest.raises(InputError, match=r"^reference\.wrong: .*wrong\.yaml must be a reference"):
        read_references([tmp_path])


@pytest.mark.parametrize("content", ["", "a: [", "- 1", "\xff"])
def test_a_yaml_that_can_not_be_read_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "reference" / "wrong.yaml"
    path.parent.mkdir()
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"^reference\.wrong: .*wrong\.yaml must be a reference"):
        read_references([tmp_path])


@pytest.mark.parametrize(
    ("uses_labels", "saw", "expected"),
    [
        ("no", False, "no"),
        ("no", True, "backbone's training"),
        ("for the vote", False, "for the vote"),
        ("for the vote", True, "for the vote; backbone's training"),
    ],
)
def test_the_labels_behind_an_accuracy_are_its_own_and_the_backbones(
    uses_labels: str, saw: bool, expected: str
) -> None:
    facts = ReferenceFacts("mine", "Mine", "one line", uses_labels)
    assert facts.labels(backbone_saw=saw) == expected
