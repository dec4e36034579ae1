"""The list of a dataset's images, made once and kept in the store."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fused_clip.runner.config import DatasetOptions
from fused_clip.support.files import locked, writable

if TYPE_CHECKING:
    from fused_clip.dataset.image_index import ImageIndex

log = logging.getLogger(__name__)
_ORDER = ("train", "all", "test")  # of the rows of several sequences


def listed_images(options: DatasetOptions, data_dir: str | None, folder: Path) -> dict[str, ImageIndex]:
    """List images, or open the list of an earlier call if folders and tables are as they were.

    Parameters
    ----------
    options : of the dataset.
    data_dir : mirror of the hub sets; None for the hub.
    folder : of all lists.

    Returns
    -------
    Names of the sequences of images -> their indexes.

    Raises
    ------
    InputError
        If the images can't be listed or the list can't be written.
    """
    from fused_clip.dataset.index_sources import index_of
    from fused_clip.dataset.recipe import Recipe

    recipe = Recipe.model_validate(options.model_dump(include=set(Recipe.model_fields)))
    own = options.model_extra or {}
    asked = [options.target, recipe.model_dump(mode="json"), own, data_dir, str(Path.cwd())]
    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    place = folder / name
    if (found := _open(place)) and not _changes(found):
        return found
    with locked(folder / f"{name}.lock", what="the list of images"), writable(folder):
        found = _open(place)
        if found and not (changes := _changes(found)):  # another process listed them meanwhile
            return found
        if found:
            log.warning("Listing the images anew: %s", changes)
        with TemporaryDirectory(prefix=f"{name}-", dir=folder) as draft:
            index_of(options.target, recipe, own, data_dir, Path(draft, name))
            shutil.rmtree(place, ignore_errors=True)
            Path(draft, name).rename(place)
    return _open(place)


def _open(place: Path) -> dict[str, ImageIndex]:
    from fused_clip.dataset.image_index import ImageIndex

    return {name: ImageIndex.open(place / name) for name in _ORDER if (place / name).is_dir()}


def _changes(indexes: dict[str, ImageIndex]) -> str:
    return "; ".join(filter(None, (index.changed() for index in indexes.values())))
