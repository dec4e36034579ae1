"""A user's own images, in one folder a class."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

from PIL import Image

from fused_clip.dataset.decode import NOT_DECODED
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.image_files import File, dataset_of_files
from fused_clip.dataset.inside import inside
from fused_clip.dataset.names import class_name, natural_order, printable
from fused_clip.dataset.recipe import Recipe
from fused_clip.support.errors import InputError

Check = Callable[[str | Path], None]
OUTSIDE = "dataset.outside_root=true"
HIDDEN = (".", "__MACOSX")  # starts of the names of folders that file managers and archives leave behind


def imagefolder(recipe: Recipe) -> ImageDataset:
    """Images under ``<root>/train/<class>`` and ``<root>/test/<class>``, or under ``<root>/<class>`` alone.

    Without a test folder a stratified `test_fraction` is the test split. Classes are named after their
    folders, in natural order ("2" before "10"). With ``labels="none"`` all images below `root`, or below its
    train and test folders, are used. Hidden files and files without the suffix of an image are ignored.

    A link that leads out of `root` is refused, unless `outside_root` is set. Every image is checked first;
    with ``on_bad_image="skip"`` unreadable ones are left out and listed in
    `ImageDataset.skipped`.

    Parameters
    ----------
    recipe : the shared options; `root` is the folder.

    Raises
    ------
    InputError
        If the folder is missing, empty or has one class, an image can't be read, a link leads out of it,
        `from_split` is set without a test folder, or names or sizes don't fit the data.
    """
    if recipe.root is None:
        raise InputError("dataset.root", "must name the folder of images", recipe.root)
    folder = Path(recipe.root).expanduser()
    if not folder.is_dir():
        raise InputError("dataset.root", "must be an existing folder", recipe.root)
    check = None if recipe.outside_root else inside(folder, "dataset.root", f"{OUTSIDE} follows the link")
    if recipe.labels == "none":
        return dataset_of_files(recipe, _unlabelled(recipe, folder, check), (), f"folder {folder}")
    used = recipe.used(_parts(folder))
    names = _class_names(used, folder)
    files = [
        [file for sub in _subfolders(part) for file in _files(sub, folder, class_name(sub.name), check)]
        for part in used
    ]
    if not all(files):
        raise InputError("dataset.root", "must contain an image", str(folder))
    return dataset_of_files(recipe, files, names, f"folder {folder}")


def _unlabelled(recipe: Recipe, folder: Path, check: Check | None) -> list[list[File]]:
    """Every image of each part, whatever folder it is in."""
    pair = (folder / "train", folder / "test")
    parts: tuple[Path, ...] = pair if all(part.is_dir() for part in pair) else (folder,)
    found = [_files(part, folder, None, check) for part in recipe.used(parts)]
    if not all(found):
        raise InputError("dataset.root", "must contain an image", str(folder))
    return found


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


def _files(folder: Path, root: Path, label: str | None, check: Check | None) -> list[File]:
    """Image files at any depth, sorted."""
    paths = sorted(map(Path, image_files("dataset.root", folder, check)))
    return [File(path, printable(path.relative_to(root).as_posix()), label) for path in paths]


def image_files(option: str, root: Path, check: Check | None = None) -> Iterator[str]:
    """Find the image files below a folder, in order; hidden files and links that lead back up are ignored.

    Parameters
    ----------
    option : names the folder in errors.
    root : the folder.
    check : called with the folder and with every link in it; raises for one that may not be followed. None
        follows all.
    """

    def refuse(error: OSError) -> NoReturn:
        raise InputError(option, f"{error.filename} can't be read ({error.strerror})") from error

    if check:
        check(root)
    for parent, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        own = (name for name in folders if not name.startswith(HIDDEN))
        folders[:] = sorted(name for name in own if not _leads_up(Path(parent, name)))
        # A folder in the place of an image can't be read, and is not passed over in silence.
        images = [os.path.join(parent, name) for name in sorted([*files, *folders]) if is_image(name)]
        for path in (*(os.path.join(parent, name) for name in folders), *images):
            if check and os.path.islink(path):
                check(path)
        yield from images


def _leads_up(folder: Path) -> bool:
    """Whether a folder is a link to one of its parents."""
    passed = (parent.resolve() for parent in folder.absolute().parents)
    return folder.is_symlink() and folder.resolve() in passed


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image that PIL can read.

    Parameters
    ----------
    name : with or without its folder.
    """
    return not os.path.basename(name).startswith(".") and Path(name).suffix.lower() in image_suffixes()


@cache
def image_suffixes() -> frozenset[str]:
    """File suffixes that PIL can read."""
    suffixes = Image.registered_extensions()  # which knows all kinds by now
    kinds = Image.OPEN.keys() - NOT_DECODED
    return frozenset(suffix for suffix, kind in suffixes.items() if kind in kinds)
