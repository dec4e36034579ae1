import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fused_clip.runner import user_files
from fused_clip.runner.config import check
from fused_clip.support import files
from fused_clip.support.errors import InputError
from tests.dataset.tars import pack
from tests.fakes import FakeBackbone
from tests.loading import csv, imagefolder, webdataset
from tests.runner.test_config import composed


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of JPEG images, and a table of them."""
    root = tmp_path / "photos"
    lines = ["path,label"]
    for index in range(12):
        folder = root / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpg")
        lines.append(f"{folder.name}/{index}.jpg,{folder.name}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def look(root: Path, table: bool = False) -> None:
    """Look at the files as a new process does."""
    files._sha256_of.cache_clear()
    place = root / "labels.csv" if table else root
    dataset = csv(path=str(place)) if table else imagefolder(root=str(place))
    kind = "csv" if table else "imagefolder"
    options = check(composed(f"dataset={kind}", f"dataset.{'path' if table else 'root'}={place}"))
    user_files.check(options, dataset, FakeBackbone(), root.parent / "out")


def rot(path: Path) -> None:
    """Change a byte that leaves a JPEG readable: a disk does not touch the time of change."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[content.index(b"\xff\xdb") + 8] ^= 1  # an entry of a quantisation table
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_decayed_image_is_named(photos: Path) -> None:
    look(photos)
    look(photos)
    rot(photos / "b" / "3.jpg")
    with pytest.raises(InputError, match=r"^dataset: 1 of 12 files are damaged.*b/3\.jpg.*touch them"):
        look(photos)


def test_a_decayed_image_of_a_tar_file_is_named_with_its_place(photos: Path) -> None:
    images = {f"{path.stem}.jpg": path.read_bytes() for path in sorted(photos.glob("*/*.jpg"))}
    labels = {f"{path.stem}.cls": path.parent.name.encode() for path in photos.glob("*/*.jpg")}
    tar = pack(photos / "tars" / "0.tar", sorted({**images, **labels}.items()))
    options = check(composed("dataset=webdataset", f"dataset.path={tar.parent}"))

    def look_at_tars() -> None:
        dataset = webdataset(path=str(tar.parent))
        user_files.check(options, dataset, FakeBackbone(), photos.parent / "out")

    look_at_tars()
    look_at_tars()
    rot(tar)
    with pytest.raises(InputError, match=r"^dataset: 1 of 12 files are damaged.*0\.tar:\d+\+\d+"):
        look_at_tars()


def test_a_file_that_was_edited_is_another(photos: Path) -> None:
    look(photos)
    rot(photos / "b" / "3.jpg")
    os.utime(photos / "b" / "3.jpg")
    look(photos)


def test_a_decayed_table_is_named(photos: Path) -> None:
    look(photos, table=True)
    table = photos / "labels.csv"
    stat = table.stat()
    table.write_text(table.read_text().replace("a/2.jpg,a", "a/2.jpg,b"))
    os.utime(table, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(InputError, match=r"^dataset\.path: 1 of 1 files are damaged.*labels\.csv"):
        look(photos, table=True)
