"""A user's own images, in one folder a class."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

from PIL import Image

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.image_files import File, dataset_of_files
from fused_clip.dataset.names import class_name, natural_order, printable
from fused_clip.dataset.recipe import Recipe
from fused_clip.support.errors import InputError

_NOT_DECODED = {"BUFR", "GRIB", "HDF5", "MPEG"}  # what PIL knows by its first bytes, and no more
HIDDEN = (".", "__MACOSX")  # how folders that file managers and archives leave behind start


def imagefolder(recipe: Recipe) -> ImageDataset:
    """Images under ``<root>/train/<class>`` and ``<root>/test/<class>``, or under ``<root>/<class>`` alone.

    Without a test folder a stratified `test_fraction` is the test split. Classes are named after their
    folders, in natural order ("2" before "10"), and matched between the splits by name. With
    ``labels="none"`` the images are all those below `root`, or below its train and test folders, however they
    are sorted.

    Files that are no images by their suffix, and what starts with a dot, are passed over. Every image is read
    once and tried before anything else is done; with ``on_bad_image="skip"`` the unreadable ones are left out
    and listed in `ImageDataset.skipped`.

    Parameters
    ----------
    recipe : the shared options; `root` is the folder.

    Raises
    ------
    InputError
        If the folder is missing, empty or has one class; if an image can't be read; if `from_split` is set
        and there is no test folder; if names or sizes don't fit the data.
    """
    folder = _existing(recipe.root)
    if recipe.labels == "none":
        return dataset_of_files(recipe, _unlabelled(recipe, folder), (), f"folder {folder}")
    used = recipe.used(_parts(folder))
    names = _class_names(used, folder)
    files = [_files(part, folder) for part in used]
    return dataset_of_files(recipe, files, names, f"folder {folder}")


def _unlabelled(recipe: Recipe, folder: Path) -> list[list[File]]:
    """Every image of each part, whatever folder it is in."""
    pair = (folder / "train", folder / "test")
    parts: tuple[Path, ...] = pair if all(part.is_dir() for part in pair) else (folder,)
    found = [
        [File(path, printable(path.relative_to(folder).as_posix()), None) for path in _images(part)]
        for part in recipe.used(parts)
    ]
    if not all(found):
        raise InputError("dataset.root", "must contain an image", str(folder))
    return found


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
            rule = f"has a folder {one.name}/ of classes and needs {other.name}/ next to it"
            raise InputError("dataset.root", rule, str(folder), hint="Or name the folder of classes itself")
    return (folder,)


def _class_names(parts: Sequence[Path], folder: Path) -> list[str]:
    names = {class_name(sub.name) for part in parts for sub in _subfolders(part)}
    if len(names) < 2:
        rule = f"must contain a folder of images for each of two classes or more, has {sorted(names)}"
        raise InputError("dataset.root", rule, str(folder))
    return natural_order(names)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith(HIDDEN))


def _files(part: Path, root: Path) -> list[File]:
    return [
        File(path, printable(path.relative_to(root).as_posix()), class_name(sub.name))
        for sub in _subfolders(part)
        for path in _images(sub)
    ]


def _images(folder: Path) -> list[Path]:
    """Image files at any depth, sorted."""
    return sorted(map(Path, image_files("dataset.root", folder)))


def image_files(option: str, root: Path) -> Iterator[str]:
    """Find the image files of a folder and all below it, folder by folder in order of their names.

    Links are followed, but for those that lead back up. Files that are no images by their suffix, and what
    starts with a dot, are passed over.

    Parameters
    ----------
    option : which names the folder.
    """

    def refuse(error: OSError) -> NoReturn:
        raise InputError(option, f"{error.filename} can't be read ({error.strerror})") from error

    for parent, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        own = (name for name in folders if not name.startswith(HIDDEN))
        folders[:] = sorted(name for name in own if not _leads_up(Path(parent, name)))
        yield from (os.path.join(parent, name) for name in sorted(files) if is_image(name))


def _leads_up(folder: Path) -> bool:
    """Whether a folder is a link to one that was gone through to get there."""
    passed = (parent.resolve() for parent in folder.absolute().parents)
    return folder.is_symlink() and folder.resolve() in passed


def is_image(name: str) -> bool:
    """Whether a file is an image that PIL can read, by its name."""
    return not os.path.basename(name).startswith(".") and Path(name).suffix.lower() in image_suffixes()


@cache
def image_suffixes() -> frozenset[str]:
    """File suffixes that PIL can read."""
    suffixes = Image.registered_extensions()  # which knows all kinds by now
    kinds = Image.OPEN.keys() - _NOT_DECODED
    return frozenset(suffix for suffix, kind in suffixes.items() if kind in kinds)
