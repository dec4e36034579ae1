"""Tar files as WebDataset's writers make them."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def png(value: int) -> bytes:
    """A small image of one grey value."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 5), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def pack(
    path: Path,
    files: Mapping[str, bytes] | Iterable[tuple[str, bytes]],
    kind: int = tarfile.PAX_FORMAT,
) -> Path:
    """Write a tar file with files in the given order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = files.items() if isinstance(files, Mapping) else files
    with tarfile.open(path, "w", format=kind, errors="surrogateescape") as archive:
        for name, content in pairs:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def sample(key: str, value: int, label: str | int) -> dict[str, bytes]:
    """Members of an image with its label."""
    return {f"{key}.png": png(value), f"{key}.cls": str(label).encode()}


def shards(folder: Path, count: int = 2, each: int = 6) -> Path:
    """Tar files 000.tar, 001.tar, ... with images of classes 0 and 1 in turn."""
    for number in range(count):
        files: dict[str, bytes] = {}
        for row in range(each):
            files |= sample(f"{number}{row:03d}", number * each + row, row % 2)
        pack(folder / f"{number:03d}.tar", files)
    return folder
