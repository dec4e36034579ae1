"""Defaults in Python are those of the command line, so that a notebook and a run do the same."""

import inspect
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import yaml

from fused_clip.method.budget import LabelBudget
from fused_clip.support.conf import conf_dir

GROUPS = ("classifier", "clusterer", "fusion", "pairing", "prompt", "text")
# Options that are another setting of the same function.
SETTINGS = {
    "classifier/mean_similarity": ["normalize_texts"],
    "fusion/images": ["normalize_inputs"],
    "prompt/openai_cifar": ["templates", "replace_underscores"],
    "prompt/openai_mnist": ["templates"],
    "prompt/templates": ["templates", "replace_underscores"],
}


def options() -> dict[str, tuple[Any, dict[str, Any]]]:
    """What each option of this package calls, and the values in its YAML, by group and name."""
    found = {}
    for group in GROUPS:
        for path in sorted(Path(conf_dir(), group).glob("*.yaml")):
            values = yaml.safe_load(path.read_text())
            target = values.pop("_target_", "")
            if target.startswith("fused_clip."):
                module, _, name = target.rpartition(".")
                found[f"{group}/{path.stem}"] = (resolve_name(f"{module}:{name}"), values)
    return found


@pytest.mark.parametrize("option", options())
def test_a_default_is_that_of_the_command_line(option: str) -> None:
    function, values = options()[option]
    parameters = inspect.signature(function).parameters.items()
    defaults = {name: own.default for name, own in parameters if own.default is not own.empty}
    differ = [name for name in defaults if name in values and values[name] != defaults[name]]
    assert differ == SETTINGS.get(option, [])
    required = [name for name, own in parameters if own.default is own.empty]
    if inspect.isclass(function) and hasattr(function, "get_params") and not (differ or required):
        assert {**function().get_params(), **values} == function().get_params()


def test_labels_are_drawn_by_seed_0() -> None:
    assert LabelBudget().seed == 0
