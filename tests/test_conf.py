"""Every option of every group, found by discovery and held to its group's contract."""

import inspect
from pathlib import Path

import pytest

from fused_clip.runner.config import Options, check
from fused_clip.runner.targets import locate
from fused_clip.support.conf import conf_dir
from tests.runner.test_config import composed

# conf/report belongs to another command: tests/report/test_main.py looks at it.
OPTIONS = sorted(path for path in conf_dir().glob("*/*.yaml") if path.parent.name != "report")
PARTS = [path for path in OPTIONS if path.parent.name not in ("experiment", "reference", "method")]
# What the program itself passes to an option of each group.
RUNTIME = {
    "dataset": {"data_dir", "recipe"},
    "backbone": {"dataset"},
    "prompt": {"dataset"},
    "text": {"texts", "members", "templates", "prompts", "images", "targets", "backbone", "random_state"},
    "pairing": {"images", "texts", "targets", "prompt_of_target", "partition", "random_state"},
    "tracking": {"output_dir"},
}


def name(path: Path) -> str:
    return f"{path.parent.name}={path.stem}"


@pytest.mark.parametrize("path", OPTIONS, ids=name)
def test_an_option_composes_and_keeps_the_types(path: Path) -> None:
    assert isinstance(check(composed(name(path))), Options)


@pytest.mark.parametrize("path", OPTIONS, ids=name)
def test_an_option_says_what_it_is(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line.startswith("#")]
    said = [line for line in lines if "@package" not in line]
    assert said, "needs a comment that says what it is"
    assert len(said[0]) > len("# ")


@pytest.mark.parametrize("path", PARTS, ids=name)
def test_an_options_target_accepts_what_it_is_given(path: Path) -> None:
    group = path.parent.name
    schema = Options.model_fields[group].annotation
    assert schema is not None
    node = composed(name(path))[group]
    target = locate(group, node["_target_"])
    accepted = inspect.signature(target).parameters
    shared = {field.alias or key for key, field in schema.model_fields.items()}  # type: ignore[union-attr]
    own = set(node) - shared
    assert own <= set(accepted), "the option's own keys must be parameters of its target"
    required = {
        key
        for key, parameter in accepted.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }
    assert required <= shared | own | RUNTIME.get(group, set())


@pytest.mark.parametrize("group", sorted({path.parent.name for path in PARTS}))
def test_an_override_of_a_shared_key_fits_every_option(group: str) -> None:
    schema = Options.model_fields[group].annotation
    assert schema is not None
    shared = {key for key in schema.model_fields if key not in ("target", "partial")}  # type: ignore[union-attr]
    for path in PARTS:
        if path.parent.name == group:
            assert shared <= set(composed(name(path))[group])


def test_each_group_has_a_schema() -> None:
    assert {path.parent.name for path in PARTS} <= set(Options.model_fields)
