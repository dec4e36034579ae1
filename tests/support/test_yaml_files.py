import time

import pytest

from fused_clip.support.yaml_files import parse_yaml

BOMB = "a: &a [x]\n" + "".join(
    f"{chr(code)}: &{chr(code)} [{', '.join([f'*{chr(code - 1)}'] * 9)}]\n" for code in range(98, 110)
)


def test_plain_values_and_aliases_are_read() -> None:
    assert parse_yaml("pet: &p [cat, dog]\nall: [*p, *p, 3]") == {
        "pet": ["cat", "dog"],
        "all": [["cat", "dog"], ["cat", "dog"], 3],
    }
    assert parse_yaml("&x a: {<<: {b: 1}, c: *x}") == {"a": {"b": 1, "c": "a"}}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "it has more than 100,000 values"),
        ("[" * 10_000, "exceeded maximum nesting depth|nested more"),
        ("{a: " * 51 + "1" + "}" * 51, "it is nested more than 50 deep"),
        ("[" + "a," * 100_001 + "]", "it has more than 100,000 values"),
        ("a" * 1_000_001, "it has 1,000,001 characters, and at most 1,000,000 are read"),
        ("a: &a [*a]", r"\*a contains itself"),
        ("[*a]", "found undefined alias"),
        ("!!bool x", "KeyError"),
        ("!!timestamp x", "AttributeError"),
        ("!!int x", "invalid literal"),
        ("2001-13-45", "month must be in 1..12"),
        ("1" * 5_000, "Exceeds the limit"),
        ("!!python/name:os.system x", "could not determine a constructor"),
        ("a: b: c", "mapping values are not allowed"),
        ("\0", "control characters|special characters"),
    ],
    ids=range(15),
)
def test_all_else_is_refused_at_once_in_one_line(text: str, message: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text)
    assert time.process_time() - started < 1
    assert "\n" not in str(caught.value)


def test_the_largest_that_is_read_takes_no_more_values_by_aliases() -> None:
    assert len(parse_yaml("[" + "a," * 99_999 + "]")) == 99_999
    assert len(parse_yaml("x: &x [" + "a," * 9_000 + "]\ny: [" + "*x," * 9 + "]")["y"]) == 9
    with pytest.raises(ValueError, match="more than 100,000 values"):
        parse_yaml("x: &x [" + "a," * 9_000 + "]\ny: [" + "*x," * 11 + "]")
