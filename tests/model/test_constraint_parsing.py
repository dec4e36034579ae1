from pathlib import Path

import pytest

from fused_clip.model.constraint_parsing import (
    check_threshold,
    parse_prior,
    parse_target_map,
    parse_targets,
    read_target_map,
)
from fused_clip.support.errors import InputError


def test_targets_are_parted_by_commas() -> None:
    assert parse_targets("cat, dog,ice cream") == ["cat", "dog", "ice cream"]
    assert parse_targets('"cat, big",dog') == ["cat, big", "dog"]


@pytest.mark.parametrize("text", ["", "cat,", ",", "cat,cat", "cat\ndog", '"cat', '"cat"s'])
def test_targets_must_be_distinct_names(text: str) -> None:
    with pytest.raises(InputError, match="targets: must be distinct names"):
        parse_targets(text)


def test_a_prior_is_a_number_a_name() -> None:
    assert parse_prior("cat=.9, a=b=1e-1") == {"cat": 0.9, "a=b": 0.1}


@pytest.mark.parametrize("text", ["cat", "cat=", "=.5", "cat=much", "cat=nan"])
def test_a_prior_must_be_numbers_of_names(text: str) -> None:
    with pytest.raises(InputError, match="prior: must be name=number"):
        parse_prior(text)


def test_a_target_map_names_groups(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("even: [0, 2]\nodd: ['1']\n")
    assert read_target_map(path) == {"even": ["0", "2"], "odd": ["1"]}
    assert parse_target_map("{pet: [cat, dog]}") == {"pet": ["cat", "dog"]}


@pytest.mark.parametrize(
    "text", ["", "pet: cat", "[cat, dog]", "pet: [cat", "{}", "pet: [yes]", "!!python/name:os.system"]
)
def test_a_target_map_is_nothing_else(text: str, tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"target_map(\.pet)?(\.0)?: must"):
        read_target_map(path)
    with pytest.raises(InputError, match=r"target_map(\.pet)?(\.0)?: must"):
        read_target_map(tmp_path / "gone.yaml")


@pytest.mark.parametrize("threshold", [-0.1, 2, float("nan"), float("inf")])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold: must be a probability"):
        check_threshold(threshold)


def test_only_a_calibrated_model_has_a_threshold() -> None:
    check_threshold(0.5)
    check_threshold(0.0, calibrated=False)
    with pytest.raises(InputError, match="threshold: needs a calibrated model"):
        check_threshold(0.5, calibrated=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pet: []", r"target_map\.pet: .* at least 1 item.*, got \[\]"),
        ("pet: [cat, null]", r"target_map\.pet\.1: must be a name.*, got None"),
        ("pet: [cat]\npet: [dog]", "target_map: must be YAML .*the key 'pet' stands twice, line 2"),
        ("pet: &a [*a]", "target_map: must be YAML .*an alias names what it is part of"),
    ],
)
def test_a_group_is_a_list_of_names(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_target_map(text)
