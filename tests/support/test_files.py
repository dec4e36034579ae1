"""Files that a user names, and hashes of files."""

import hashlib
import os
from pathlib import Path

import pytest

from fused_clip.support.files import MOST_TEXT, link, read_regular, sha256


def test_a_file_is_read_and_nothing_else_is(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(file)
    assert read_regular(tmp_path / "link", MOST_TEXT) == b"abc"
    os.mkfifo(tmp_path / "pipe")
    for place in ("pipe", "", "none", "a\0b", "/dev/zero"):
        with pytest.raises(OSError, match=r"pipe or a device|directory|its name has a zero byte"):
            read_regular(tmp_path / place, MOST_TEXT)


def test_a_file_has_bounds(tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(OSError, match="it has more than 67,108,864 bytes"):
        read_regular(file, MOST_TEXT)
    file.write_bytes(b"abcd")
    with pytest.raises(OSError, match="it has more than 3 bytes"):
        read_regular(file, 3)


def test_the_hash_is_of_the_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize("name", ["none", ".", "file/below", "a" * 300, "nul\0"], ids=range(5))
def test_what_can_be_no_file_has_no_hash(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert sha256(tmp_path / name) is None


def test_a_link_leads_to_the_newest_folder_and_survives_a_move(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / "here" / name).mkdir(parents=True)
        link(tmp_path / "here" / "latest", tmp_path / "here" / name)
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there" / "latest").resolve() == tmp_path / "there" / "second"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["first", "latest", "second"]


def test_a_link_leaves_what_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine.txt").touch()
    link(tmp_path / "latest", tmp_path)
    assert (tmp_path / "latest" / "mine.txt").is_file()


def test_a_link_that_cannot_be_made_is_left_out(tmp_path: Path) -> None:
    link(tmp_path / "gone" / "latest", tmp_path)
    assert not list(tmp_path.iterdir())
