"""Embeddings and thumbnails by the content of images: a change of a control embeds nothing again."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

import numpy as np

from fused_clip.app.uploads import MOST_PIXELS, Upload
from fused_clip.backbone.base import reduced_side
from fused_clip.backbone.batches import bad_rows
from fused_clip.backbone.towers import TwoTowerBackbone, batches
from fused_clip.dataset.thumbnails import thumbnail_of_file
from fused_clip.predict.decoding import read
from fused_clip.predict.sources import Item
from fused_clip.support.arrays import FloatArray

_MOST = 4096  # images: 60 MB of rows and thumbnails


@dataclass(frozen=True)
class SeenImage:
    """An image as far as answers need it.

    Parameters
    ----------
    row : (d,) embedding; None for an unreadable image.
    thumbnail : WebP; empty for an unreadable image.
    error : why it can't be read; empty if it can.
    """

    row: FloatArray | None
    thumbnail: bytes
    error: str


class ImageMemory:
    """Embeds each image once, and forgets those that were not asked for the longest.

    Sessions of several visitors may share it.

    Parameters
    ----------
    backbone : embeds the images.
    most : images that are kept.
    """

    def __init__(self, backbone: TwoTowerBackbone, most: int = _MOST) -> None:
        self._backbone = backbone
        self._most = most
        self._seen: OrderedDict[bytes, SeenImage] = OrderedDict()
        self._lock = Lock()

    def look(self, uploads: Sequence[Upload]) -> list[SeenImage]:
        """Give what answers need of each image.

        Parameters
        ----------
        uploads : image files; other files get an error.
        """
        with self._lock:
            lacking = {upload.key: upload for upload in uploads if upload.key not in self._seen}
            for some in batches(list(lacking.values()), self._backbone.batch_size):
                for upload, image in zip(some, self._embed([one.read() for one in some]), strict=True):
                    self._seen[upload.key] = image
            found = [self._seen[upload.key] for upload in uploads]
            for upload in uploads:
                self._seen.move_to_end(upload.key)
            while len(self._seen) > self._most:
                self._seen.popitem(last=False)
        return found

    def _embed(self, contents: Sequence[bytes]) -> list[SeenImage]:
        items = [Item("", partial(bytes, content)) for content in contents]
        side = reduced_side(self._backbone)
        batch = read(items, self._backbone.prepare, max_pixels=MOST_PIXELS, side=side)
        rows = self._backbone.encode_prepared(batch.pixels) if batch.pixels else np.empty((0, 0), np.float32)
        bad = set(bad_rows(rows))
        numbers = iter(range(len(rows)))
        found = []
        for content, error in zip(contents, batch.errors, strict=True):
            row = None if error else next(numbers)
            if row in bad:
                error = "its embedding is not finite, or zero"
            found.append(
                SeenImage(None, b"", error)
                if error or row is None
                else SeenImage(rows[row], thumbnail_of_file(content, MOST_PIXELS), "")
            )
        return found
