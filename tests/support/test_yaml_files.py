"""YAML that a user names: what grows when it is read, or is no YAML of plain values."""

import pytest

from fused_clip.support.yaml_files import load_yaml
from tests.attack.bad_files import bomb


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(), "aliases make it larger"),
        ("a: &a [*a]", "contains itself"),
        ("[" * 5_000 + "]" * 5_000, "nested too deeply|nesting depth"),
        ("a: 1\na: 2", "the key 'a' stands twice, line 2"),
        ("a: [1", r"expected ',' or ']'.*, line"),
        ("!!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("a: \x07", "characters are not allowed"),
        (b"\xff", "invalid start byte"),
    ],
)
def test_yaml_that_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_yaml(text)


def test_yaml_with_aliases_is_read() -> None:
    assert load_yaml("a: &x [1, 2]\nb: *x\n<<: {c: 1}") == {"a": [1, 2], "b": [1, 2], "c": 1}
