"""Files of installed packages: found, pinned, or refused in one line."""

import hashlib
import sys
from pathlib import Path

import pytest

from fused_clip.backbone.packages import PackagedFile, check_installed
from fused_clip.support.errors import InputError

CONTENT = b"weights"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedFile:
    """A package of one file, installed in a folder of `sys.path`; importing it would fail."""
    info = tmp_path / "some_weights-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.2\n")
    (tmp_path / "some_weights").mkdir()
    (tmp_path / "some_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "some_weights" / "model.bin").write_bytes(CONTENT)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    digest = hashlib.sha256(CONTENT).hexdigest()
    return PackagedFile("some-weights", "1.2", "some_weights/model.bin", digest)


def test_the_file_is_found_without_importing_the_package(package: PackagedFile) -> None:
    assert package.find().read_bytes() == CONTENT
    assert "some_weights" not in sys.modules


def test_an_absent_package_is_named_with_the_command_that_installs_it() -> None:
    absent = PackagedFile("no-such-weights", "1.0", "x/y.bin", "0" * 64)
    with pytest.raises(InputError, match=r"no-such-weights==1\.0.* not installed.*fused_clip\[open\]"):
        absent.find()


def test_a_missing_file_names_the_version_that_is_installed(package: PackagedFile) -> None:
    package.find().unlink()
    with pytest.raises(
        InputError,
        match=r"with some_weights/model\.bin; version 1\.2 is installed, without .*--no-deps some-weights",
    ):
        package.find()


def test_a_library_that_is_not_installed_is_named() -> None:
    check_installed(["torch"])
    with pytest.raises(InputError, match=r"needs the package no-such-library.*fused_clip\[open\]"):
        check_installed(["torch", "no-such-library"])


def test_an_altered_file_is_refused(package: PackagedFile) -> None:
    package.find().write_bytes(b"others!")
    with pytest.raises(InputError, match=r"unaltered; the SHA-256 .* --no-deps some-weights==1\.2"):
        package.find()
