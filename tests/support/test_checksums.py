import json
import os
import subprocess
from pathlib import Path

import pytest

from fused_clip.support.checksums import SUMS, DamagedError, intact, sealed, sealed_line, unsealed, write_sums
from fused_clip.support.files import read_regular, sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "figures").mkdir()
    for name in ("a.json", "figures/ü b.png"):
        (tmp_path / name).write_text(name)
    write_sums(tmp_path, ["figures/ü b.png", "a.json"])
    return tmp_path


def test_sha256sum_reads_the_checksums(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, check=True, capture_output=True)


def test_an_undamaged_file_is_read(folder: Path) -> None:
    assert intact("run", folder, "figures/ü b.png").decode() == "figures/ü b.png"


def test_a_damaged_file_is_named(folder: Path) -> None:
    (folder / "a.json").write_text("b.json")
    with pytest.raises(DamagedError, match=r"^run: is damaged: a\.json differs from its checksum"):
        intact("run", folder, "a.json")
    (folder / "a.json").unlink()
    with pytest.raises(DamagedError, match=r"a\.json can't be read \(No such file"):
        intact("run", folder, "a.json")
    (folder / "new").write_text("")
    with pytest.raises(DamagedError, match="new differs from its checksum"):
        intact("run", folder, "new")


def test_a_folder_of_an_earlier_version_has_no_checksums(folder: Path) -> None:
    (folder / SUMS).unlink()
    (folder / "a.json").write_text("other")
    assert intact("run", folder, "a.json") == b"other"
    with pytest.raises(FileNotFoundError):
        intact("run", folder, "none")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("fifo", "loop", ""):
        with pytest.raises(OSError):  # noqa: PT011 - which one differs
            read_regular(tmp_path / name)
        assert sha256(tmp_path / name) is None


def test_a_sealed_line_keeps_the_order_of_what_a_value_holds() -> None:
    content = {"path": "a", "composition": {"zebra": 0.8, "ant": 0.2}}
    found = unsealed(json.loads(sealed_line(content)), required=True)
    assert list(found["composition"]) == ["zebra", "ant"]
    assert found == content


def test_every_changed_value_breaks_a_seal() -> None:
    content = {"a": 0.1, "b": [1, None, "ü"], "c": {"d": float("nan")}}
    plain = json.loads(json.dumps(sealed(content)))
    assert json.dumps(unsealed(plain)) == json.dumps(content)
    for name, value in (("a", 0.2), ("b", []), ("e", 1), ("checksum", "0" * 16)):
        with pytest.raises(ValueError, match="differs from its checksum"):
            unsealed({**plain, name: value})
    assert unsealed({"a": 1}) == {"a": 1}, "an earlier version had no seals"
    with pytest.raises(ValueError, match="differs from its checksum"):
        unsealed({"a": 1}, required=True)
    with pytest.raises(ValueError, match="no JSON object"):
        unsealed([1])
