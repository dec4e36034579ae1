"""Uploaded files: names and bytes. Nothing of them is written to disk, and no name is used as a path."""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

from fused_clip.dataset.folder_walk import is_image
from fused_clip.dataset.names import printable

MOST_IMAGES = 500  # on one page
MOST_MEGABYTES = 64  # a file; a phone's largest JPEG has half of that
MOST_PIXELS = 100_000_000  # an image: decoded, it takes 300 MB


class Upload(NamedTuple):
    """A file as the browser sent it.

    Parameters
    ----------
    name : of the file; in a folder with the folders above it. It is shown and written into the table alone.
    key : SHA-256 of its bytes.
    read : gives its bytes.
    """

    name: str
    key: bytes
    read: Callable[[], bytes]

    @classmethod
    def of(cls, name: str, content: bytes) -> Self:
        """Make an upload of bytes in memory.

        Parameters
        ----------
        name : of the file.
        content : its bytes.
        """
        return cls(name, hashlib.sha256(content).digest(), lambda: content)


class Accepted(NamedTuple):
    """The uploads that are answered.

    Parameters
    ----------
    uploads : in the order of the browser, at most `MOST_IMAGES`.
    other_files : files of a folder that have no suffix of an image.
    too_many : images beyond the first `MOST_IMAGES`.
    """

    uploads: tuple[Upload, ...]
    other_files: int
    too_many: int


def accept(files: Sequence[Upload], folder: Sequence[Upload]) -> Accepted:
    """Choose the uploads that are answered; hidden and other files of a folder are left out.

    Parameters
    ----------
    files : given one by one: each is tried, whatever its name.
    folder : given with their folder.
    """
    images = [upload for upload in folder if is_image(upload.name)]
    every = [upload._replace(name=printable(upload.name)) for upload in (*files, *images)]
    kept = tuple(every[:MOST_IMAGES])
    return Accepted(kept, len(folder) - len(images), len(every) - len(kept))
