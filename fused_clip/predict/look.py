"""Predictions as a page to look at: the images are read once more, and those that the page shows decoded."""

import logging
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

from fused_clip import gallery
from fused_clip.errors import InputError
from fused_clip.predict.journal import Record
from fused_clip.predict.sources import Source

log = logging.getLogger(__name__)


def write(path: Path, source: Source, records: Iterable[Record]) -> None:
    """Write the page, `fused_clip.gallery`, of images and what was predicted of them.

    Parameters
    ----------
    source, records : in the same order; images that could not be read are left out.

    Raises
    ------
    InputError
        If it can't be written.
    """
    try:
        gallery.write(path, _items(source, records))
    except OSError as error:
        raise InputError("gallery", f"{path} can't be written ({error.strerror})") from error


def _items(source: Source, records: Iterable[Record]) -> Iterator[gallery.GalleryItem]:
    from PIL import Image, ImageOps

    for item, record in zip(source, records, strict=True):
        if "error" in record:
            continue
        try:
            image = Image.open(BytesIO(item.read()))  # pixels are decoded when they are asked for
            ImageOps.exif_transpose(image, in_place=True)
        except Exception as error:  # it could be read before; PIL's readers raise anything
            log.warning("%s is not in the gallery: %s", item.path, error)
            continue
        yield gallery.GalleryItem(
            image=image,
            path=item.path,
            target=record["target"],
            probability=record["probability"],
            margin=record["margin"],
            cluster=record["cluster"],
            abstained=record["abstained"],
        )
