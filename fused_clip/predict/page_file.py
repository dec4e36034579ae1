"""Predictions as a page to look at: of all images, only those that the page shows are read once more."""

import logging
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from fused_clip.dataset.decode import UnreadableImageError
from fused_clip.predict import gallery
from fused_clip.predict.journal import Record
from fused_clip.predict.sources import Source
from fused_clip.support.errors import InputError
from fused_clip.support.files import replacing

log = logging.getLogger(__name__)


@contextmanager
def drawn(path: Path, source: Source, records: Iterable[Record]) -> Iterator[None]:
    """Draw the gallery, and put it in its place when the with block ends without an error.

    Parameters
    ----------
    source : of the images, found by their paths; one that is gone is not on the page.
    records : what was predicted of them; those that could not be read are left out.

    Raises
    ------
    InputError
        If it can't be written.
    """
    with _writable(path), replacing(path) as draft:
        gallery.write(draft, _items(records), partial(_thumbnails, source))
        yield


def _items(records: Iterable[Record]) -> Iterator[gallery.GalleryItem]:
    for record in records:
        if "error" not in record:
            yield gallery.GalleryItem(
                path=record["path"],
                target=record["target"],
                probability=record["probability"],
                margin=record["margin"],
                cluster=record["cluster"],
                abstained=record["abstained"],
            )


def _thumbnails(source: Source, paths: Set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item in source:
        if item.path in paths and item.path not in found:
            try:
                found[item.path] = gallery.thumbnail(item.read())
            except (UnreadableImageError, OSError) as error:
                log.warning("%s is not in the gallery: %s", item.path, error)
    return found


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError("gallery", f"{path} can't be written ({error.strerror})") from error
