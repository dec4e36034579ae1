"""A user's own images, in one folder a class."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fused_clip.dataset.folder_walk import HIDDEN, Check, Found, walk
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.image_files import File, dataset_of_files
from fused_clip.dataset.inside import inside
from fused_clip.dataset.names import class_name, natural_order, printable
from fused_clip.dataset.recipe import Recipe
from fused_clip.support.errors import InputError

OUTSIDE = "dataset.outside_root=true"


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
    found = image_folder(recipe)
    files = [
        [
            _file(found, folder, entry.path)
            for folder in part
            for entry in found.walk(folder)
            if entry.is_image
        ]
        for part in found.parts
    ]
    if not all(files):
        raise no_image(found)
    return dataset_of_files(recipe, files, found.names, f"folder {found.root}")


class ImageFolder(NamedTuple):
    """A folder of images whose options are checked; its images are not looked for yet.

    Parameters
    ----------
    root : the folder.
    parts : those of `Recipe.used`: the folders of a part's images, one a class, or one if no label is read.
    names : class names, in class order; empty where no label is read.
    check : of links; None follows all.
    """

    root: Path
    parts: Sequence[Sequence[Path]]
    names: Sequence[str]
    check: Check | None

    def walk(self, folder: Path) -> Iterator[Found]:
        """Find the folders and images of one of the folders, in the order of the rows.

        Parameters
        ----------
        folder : one of `parts`.
        """
        return walk("dataset.root", folder, self.check)

    def name(self, path: str) -> str:
        """Name a row after the path of its image.

        Parameters
        ----------
        path : below `root`.
        """
        return printable(Path(path).relative_to(self.root).as_posix())


def image_folder(recipe: Recipe) -> ImageFolder:
    """Check the options of `imagefolder`, and find the folders of its classes.

    Parameters
    ----------
    recipe : the shared options.
    """
    if recipe.root is None:
        raise InputError("dataset.root", "must name the folder of images", recipe.root)
    folder = Path(recipe.root).expanduser()
    if not folder.is_dir():
        raise InputError("dataset.root", "must be an existing folder", recipe.root)
    check = None if recipe.outside_root else inside(folder, "dataset.root", f"{OUTSIDE} follows the link")
    if recipe.labels == "none":
        pair = (folder / "train", folder / "test")
        used = recipe.used(pair if all(part.is_dir() for part in pair) else (folder,))
        return ImageFolder(folder, [[part] for part in used], (), check)
    used = recipe.used(_parts(folder))
    names = _class_names(used, folder)
    return ImageFolder(folder, [_subfolders(part) for part in used], names, check)


def no_image(found: ImageFolder) -> InputError:
    """Make the error of a part without an image.

    Parameters
    ----------
    found : the folder.
    """
    return InputError("dataset.root", "must contain an image", str(found.root))


def _file(found: ImageFolder, folder: Path, path: str) -> File:
    return File(Path(path), found.name(path), class_name(folder.name) if found.names else None)


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
