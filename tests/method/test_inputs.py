"""Targets and prompts as the estimator reads them."""

import numpy as np
import pytest

from fused_clip.method.inputs import check_classes, targets_of_prompts


def test_without_labels_classes_are_the_prompts_or_their_names() -> None:
    texts = np.eye(3)
    assert check_classes(None, "prompt", texts, None)[0].tolist() == [0, 1, 2]
    assert check_classes(None, "prompt", None, None)[0].tolist() == []
    assert check_classes(None, "prompt", texts, {"b": 0, "a": 1})[0].tolist() == ["a", "b"]
    assert check_classes(None, "prompt", texts, None)[1] is None
    with pytest.raises(ValueError, match="vote='label' requires y to be passed"):
        check_classes(None, "label", texts, None)


def test_labels_that_may_not_be_used_have_no_target() -> None:
    y, labelled = np.array(["b", "a", "c", "b"]), np.array([True, True, False, True])
    classes, targets = check_classes(y, "label", None, None, labelled)
    assert classes.tolist() == ["a", "b"]
    assert np.asarray(targets).tolist() == [1, 0, -1, 1]
    with pytest.raises(ValueError, match="prompt_of_target names no prompt for target b"):
        check_classes(y, "label", None, {"a": 0, "c": 1}, labelled)


def test_each_prompt_names_one_target() -> None:
    assert targets_of_prompts(np.array([2, 0, 1])).tolist() == [1, 2, 0]
    for shared in ([0, 0, 1], [0, 3, 1]):
        with pytest.raises(ValueError, match="needs each prompt to stand for one target"):
            targets_of_prompts(np.array(shared))
