import hashlib
from pathlib import Path

import pytest

from fused_clip.support.files import sha256


def test_the_hash_is_of_the_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize("name", ["none", ".", "file/below", "a" * 300, "nul\0"], ids=range(5))
def test_what_can_be_no_file_has_no_hash(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert sha256(tmp_path / name) is None
