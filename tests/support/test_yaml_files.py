"""YAML that a user names: what grows when it is read, or is no YAML of plain values."""

import time

import pytest

from fused_clip.support.yaml_files import load_yaml
from tests.attack.bad_files import bomb


def test_plain_values_and_aliases_are_read() -> None:
    assert load_yaml("pet: &p [cat, dog]\nall: [*p, *p, 3]") == {
        "pet": ["cat", "dog"],
        "all": [["cat", "dog"], ["cat", "dog"], 3],
    }
    assert load_yaml("&x a: {<<: {b: 1}, c: *x}") == {"a": {"b": 1, "c": "a"}}
    assert load_yaml("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(), "aliases make it larger than 2,000,000 values"),
        ("x: &x [" + "a," * 9_000 + "]\ny: [" + "*x," * 300 + "]", "aliases make it larger"),
        ("a: &a [*a]", r"\*a contains itself"),
        ("[*a]", "found undefined alias"),
        ("[" * 10_000, "nested too deeply|nesting depth"),
        ("{a: " * 51 + "1" + "}" * 51, "nested too deeply"),
        ("a: 1\na: 2", "the key 'a' stands twice, line 2"),
        ("a: [1", r"expected ',' or ']'.*, line"),
        ("a: b: c", "mapping values are not allowed"),
        ("!!python/name:os.system x", "could not determine a constructor"),
        ("!!bool x", "KeyError"),
        ("!!timestamp x", "AttributeError"),
        ("!!int x", "invalid literal"),
        ("2001-13-45", "month must be in 1..12"),
        ("1" * 5_000, "Exceeds the limit"),
        ("\0", "control characters|special characters"),
        (b"\xff", "invalid start byte"),
    ],
    ids=range(17),
)
def test_all_else_is_refused_at_once_in_one_line(text: str | bytes, message: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=message) as caught:
        load_yaml(text)
    assert time.process_time() - started < 1
    assert "\n" not in str(caught.value)
