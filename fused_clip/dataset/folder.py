"""A user's own images, in one folder a class."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from fused_clip.dataset.base import ImageDataset
from fused_clip.dataset.decode import UnreadableImageError, check, map_threads
from fused_clip.dataset.images import FileImages
from fused_clip.dataset.recipe import Labelled, Recipe, Swap
from fused_clip.errors import InputError

OnBadImage = Literal["error", "skip"]
_LISTED = 5


class File(NamedTuple):
    """An image file: where it is, the name of its row, the name of its class."""

    path: Path
    name: str
    label: str


def imagefolder(
    *,
    name: str = "imagefolder",
    root: str | None = None,
    class_names: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    captions: Mapping[str, str] | None = None,
    swap: Swap = "previous",
    test_fraction: float = 0.2,
    from_split: Literal["test"] | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
    on_bad_image: OnBadImage = "error",
) -> ImageDataset:
    """Images under ``<root>/train/<class>`` and ``<root>/test/<class>``, or under ``<root>/<class>`` alone.

    Without a test folder a stratified `test_fraction` is the test split. Classes are named after their
    folders, in natural order ("2" before "10"), and matched between the splits by name. Files that are no
    images by their suffix, and what starts with a dot, are passed over. Every image is read once and tried
    before anything else is done; with ``on_bad_image="skip"`` the unreadable ones are left out and listed in
    `ImageDataset.skipped`.

    Raises
    ------
    InputError
        If the folder is missing, empty or has one class; if an image can't be read; if `from_split` is set
        and there is no test folder; if names or sizes don't fit the data.
    """
    folder = _existing(root)
    parts = _parts(folder)
    if from_split is not None and len(parts) == 1:
        rule = "must be null for a folder without train/ and test/"
        raise InputError("dataset.from_split", rule, from_split)
    recipe = Recipe(name, class_names, groups or {}, captions or {}, swap, n_train, n_test, seed)
    used = parts[1:] if from_split else parts
    names = _class_names(used, folder)
    found = [labelled_files(_files(part, folder), names, on_bad_image) for part in used]
    first, last = found[0][0], found[-1][0]
    if len(found) == 2:
        dataset = recipe.of_splits(first, last, f"folder {folder}")
    else:
        dataset = recipe.of_one(first, None if from_split else test_fraction, f"folder {folder}")
    return replace(dataset, skipped=tuple(name for _, left_out in found for name in left_out))


def labelled_files(
    files: Sequence[File], names: Sequence[str], on_bad_image: OnBadImage
) -> tuple[Labelled, tuple[str, ...]]:
    """Read every file once: hash it, and see that it is an image.

    Parameters
    ----------
    files : image files of one split.
    names : names of the classes, in class order.
    on_bad_image : whether an image that can't be read is an error or left out.

    Returns
    -------
    The images that can be read, and the names of the rows left out.

    Raises
    ------
    InputError
        If an image can't be read and ``on_bad_image="error"``.
    """
    looks = list(zip(files, map_threads(lambda file: _look(file.path), files), strict=True))
    bad = [(file.name, look) for file, look in looks if isinstance(look, UnreadableImageError)]
    if bad and on_bad_image == "error":
        listed = "; ".join(f"{name} ({why})" for name, why in bad[:_LISTED])
        more = f"; and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
        rule = f"{len(bad)} of {len(files)} images can't be read: {listed}{more}"
        raise InputError("dataset.on_bad_image", rule, hint="Mend them, or set dataset.on_bad_image=skip")
    good = [(file, look) for file, look in looks if isinstance(look, bytes)]
    images = FileImages(
        tuple(file.path for file, _ in good),
        tuple(file.name for file, _ in good),
        hashlib.sha256(b"".join(digest for _, digest in good)).hexdigest(),
    )
    label_of_name = {name: label for label, name in enumerate(names)}
    labels = np.array([label_of_name[file.label] for file, _ in good], dtype=np.int64)
    return Labelled(images, labels, tuple(names), "user"), tuple(name for name, _ in bad)


def _look(path: Path) -> bytes | UnreadableImageError:
    """SHA-256 of a file that is an image, or what is wrong with it."""
    try:
        encoded = path.read_bytes()
        check(encoded)
    except OSError as error:
        return UnreadableImageError(error.strerror or str(error))
    except UnreadableImageError as error:
        return error
    return hashlib.sha256(encoded).digest()


def _existing(root: str | None) -> Path:
    if root is None:
        raise InputError("dataset.root", "must name the folder of images", root)
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError("dataset.root", "must be an existing folder", str(root))
    return folder


def _parts(folder: Path) -> tuple[Path, ...]:
    """Train and test folder, or the folder itself where it has none of its own."""
    train, test = folder / "train", folder / "test"
    if train.is_dir() and test.is_dir():
        return train, test
    for one, other in ((train, test), (test, train)):
        if one.is_dir() and _subfolders(one):
            rule = f"has a folder {one.name}/ of classes and needs {other.name}/ beside it"
            raise InputError("dataset.root", rule, str(folder), hint="Or name the folder of classes itself")
    return (folder,)


def _class_names(parts: Sequence[Path], folder: Path) -> list[str]:
    names = {_class_name(sub) for part in parts for sub in _subfolders(part)}
    if len(names) < 2:
        rule = f"must hold a folder of images for each of two classes or more, holds {sorted(names)}"
        raise InputError("dataset.root", rule, str(folder))
    return sorted(names, key=_natural)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(
        sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith((".", "__MACOSX"))
    )


def _files(part: Path, root: Path) -> list[File]:
    suffixes = _suffixes()
    return [
        File(path, _printable(path.relative_to(root).as_posix()), _class_name(sub))
        for sub in _subfolders(part)
        for path in _walk(sub)
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]


def _walk(folder: Path) -> list[Path]:
    return sorted(
        Path(parent) / file for parent, _, files in os.walk(folder, followlinks=True) for file in files
    )


@cache
def _suffixes() -> frozenset[str]:
    """File suffixes that PIL can read."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def _class_name(folder: Path) -> str:
    """One name for a folder, whether its file system composes accents or not."""
    return unicodedata.normalize("NFC", _printable(folder.name))


def _printable(name: str) -> str:
    """Write bytes that are no text as escapes, so that the name can be stored."""
    return name.encode("utf-8", "backslashreplace").decode()


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key by which "2" comes before "10"."""
    parts = re.findall(r"(\d+)|(\D+)", name)
    return [(0, int(digits), "") if digits else (1, 0, text.casefold()) for digits, text in parts], name
