"""Images below a folder in the order of their paths, with the names of one folder at a time in memory."""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, NoReturn

from PIL import Image

from fused_clip.dataset.decode import NOT_DECODED
from fused_clip.support.errors import InputError

Check = Callable[[str | Path], None]
HIDDEN = (".", "__MACOSX")  # starts of the names of folders that file managers and archives leave behind


class Found(NamedTuple):
    """A folder before it is read, or what has the name of an image.

    Parameters
    ----------
    path : of it.
    is_image : false for a folder.
    """

    path: str
    is_image: bool


def walk(option: str, root: Path, check: Check | None = None) -> Iterator[Found]:
    """Find folders and images below a folder, sorted as `Path` sorts them.

    Hidden files and links that lead back up are ignored.

    Parameters
    ----------
    option : names the folder in errors.
    root : the folder.
    check : called with the folder and with every link in it; raises for one that may not be followed. None
        follows all.
    """
    if check:
        check(root)
    open_folders = [iter([Found(str(root), is_image=False)])]
    while open_folders:
        found = next(open_folders[-1], None)
        if found is None:
            open_folders.pop()
            continue
        if check and os.path.islink(found.path):
            check(found.path)
        yield found
        if not found.is_image:
            open_folders.append(_entries(option, found.path))


def _entries(option: str, folder: str) -> Iterator[Found]:
    """Images and folders in a folder, sorted; a folder with the name of an image is both."""
    names: list[str] = []  # of images, and of all in `folders`
    folders: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_folder(entry):
                    folders.add(entry.name)
                elif not is_image(entry.name):
                    continue
                names.append(entry.name)
    except OSError as error:
        raise InputError(option, f"{folder} can't be read ({error.strerror})") from error
    names.sort()
    for name in names:
        path = os.path.join(folder, name)
        if name not in folders:
            yield Found(path, is_image=True)
        elif not (name.startswith(HIDDEN) or _leads_up(Path(path))):
            # A folder in the place of an image can't be read, and is not passed over in silence.
            if is_image(name):
                yield Found(path, is_image=True)
            yield Found(path, is_image=False)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


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
    base = os.path.basename(name)
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in image_suffixes()


@cache
def image_suffixes() -> frozenset[str]:
    """File suffixes that PIL can read."""
    suffixes = Image.registered_extensions()  # which knows all kinds by now
    kinds = Image.OPEN.keys() - NOT_DECODED
    return frozenset(suffix for suffix, kind in suffixes.items() if kind in kinds)
