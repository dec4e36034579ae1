"""Files that a user names: what is no file, too large, or grows when it is read."""

import os
from pathlib import Path

import pytest

from fused_clip.support.user_files import load_yaml, read_user_file
from tests.attack.bad_files import bomb


def test_a_file_is_read_and_nothing_else_is(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(file)
    assert read_user_file(tmp_path / "link") == b"abc"
    os.mkfifo(tmp_path / "pipe")
    for place in ("pipe", "", "none", "a\0b", "/dev/zero"):
        with pytest.raises(OSError, match=r"pipe or a device|directory|null byte"):
            read_user_file(tmp_path / place)


def test_a_file_has_bounds(tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(OSError, match="it has more than 67,108,864 bytes"):
        read_user_file(file)
    file.write_bytes(b"abcd")
    with pytest.raises(OSError, match="it has more than 3 bytes"):
        read_user_file(file, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(), "aliases make it larger"),
        ("a: &a [*a]", "an alias names what it is part of"),
        ("[" * 5_000 + "]" * 5_000, "nested too deeply"),
        ("a: 1\na: 2", "the key 'a' stands twice, line 2"),
        ("a: [1", r"expected ',' or ']'.*, line 1"),
        ("!!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("a: \x07", "special characters"),
        (b"\xff", "invalid start byte"),
    ],
)
def test_yaml_that_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_yaml(text)


def test_yaml_with_aliases_is_read() -> None:
    assert load_yaml("a: &x [1, 2]\nb: *x\n<<: {c: 1}") == {"a": [1, 2], "b": [1, 2], "c": 1}
