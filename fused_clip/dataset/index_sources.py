"""What a dataset's rows are, found without reading its images: an index for each parent sequence."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from fused_clip.dataset.decode import UnreadableImageError, check, map_threads
from fused_clip.dataset.encoded_table import chunk_sizes
from fused_clip.dataset.folder import ImageFolder, image_folder, no_image
from fused_clip.dataset.hub_set import find_files
from fused_clip.dataset.image_files import File
from fused_clip.dataset.image_index import ImageIndex, content_of, write_index
from fused_clip.dataset.index_file import Container, Entry, LeftOut, Listed, container
from fused_clip.dataset.listing import ListedFiles, listed_files
from fused_clip.dataset.names import printable, shortened
from fused_clip.dataset.recipe import Recipe
from fused_clip.dataset.tar_samples import Archive, find_archives, image_of, samples
from fused_clip.dataset.tar_set import no_sample
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_IMAGE

_AT_ONCE = 256  # images checked at a time


class _Part(NamedTuple):
    """Rows of a parent sequence: what `write_index` needs, and the error of a part without a row."""

    entries: Iterable[Entry]
    table: Mapping[str, str] | None
    none: InputError


def index_of(
    target: str, recipe: Recipe, own: Mapping[str, Any], data_dir: str | None, folder: Path
) -> dict[str, ImageIndex]:
    """List the images of a dataset in the order of its rows, for each parent sequence.

    With ``on_bad_image="error"`` images are not read: a damaged one is found when it is embedded. With "skip"
    each is read once, as the dataset does.

    Parameters
    ----------
    target : function of the dataset, e.g. ``fused_clip.dataset.imagefolder``.
    recipe : the shared options.
    own : keys that the dataset has of its own.
    data_dir : mirror of the hub sets; None for the hub.
    folder : below which each index is written, in a folder with its name.

    Returns
    -------
    "train" and "test" -> index, in this order; "all" for a set without a test part; "test" alone where
    `from_split` halves it.

    Raises
    ------
    InputError
        As the dataset does for its options; for a dataset that can't be listed.
    """
    package, _, name = target.rpartition(".")
    if package != "fused_clip.dataset" or name not in _SOURCES:
        rule = "needs no shards" if package == "fused_clip.dataset" else "can't be cut into shards"
        raise InputError("dataset", rule, recipe.name, choices=sorted(_SOURCES))
    parts = _SOURCES[name](recipe, own, data_dir)
    names = ("train", "test") if len(parts) == 2 else ("all",) if recipe.from_split is None else ("test",)
    made = {}
    for key, part in zip(names, parts, strict=True):
        entries = _reported(part.entries, part.none)
        made[key] = write_index(folder / key, entries, max_pixels=recipe.max_pixels, table=part.table)
    return made


def _reported(entries: Iterable[Entry], none: InputError) -> Iterator[Entry]:
    """Refuse a part without an image, and name what goes away while it is listed."""
    some = False
    try:
        for entry in entries:
            some = some or isinstance(entry, Listed)
            yield entry
    except OSError as error:
        rule = f"{error.filename} can't be read ({error.strerror or error})"
        raise InputError("dataset", rule, hint="Run again if it was moved meanwhile") from error
    if not some:
        raise none


def _imagefolder(recipe: Recipe, own: Mapping[str, Any], data_dir: str | None) -> list[_Part]:
    found = image_folder(recipe)
    return [_Part(_checked(recipe, _in_folders(found, part)), None, no_image(found)) for part in found.parts]


def _in_folders(found: ImageFolder, part: Sequence[Path]) -> Iterator[Entry]:
    """Folders and images of one part; a new class changes the folder that contains those of the classes."""
    yield from (container(place) for place in dict.fromkeys([found.root, *(one.parent for one in part)]))
    for folder in part:
        holders: list[tuple[str, Container]] = []
        for path, is_image in found.walk(folder):
            parent, name = os.path.split(path)
            while holders and holders[-1][0] != parent:
                holders.pop()
            if is_image:
                yield _file(holders[-1][1], name, path)
            else:
                below = Path(path).relative_to(found.root).as_posix()
                holders.append((path, container(path, "" if below == "." else f"{below}/")))
                yield holders[-1][1]


def _file(holder: Container, name: str, path: str) -> Listed | LeftOut:
    """List a file; anything else with the name of an image is left out."""
    try:
        status = os.stat(path)
    except OSError as error:
        return LeftOut(printable(holder.prefix + name), error.strerror or str(error))
    if not stat.S_ISREG(status.st_mode):
        return LeftOut(
            printable(holder.prefix + name), "it is a folder, a pipe or a device, and must be a file"
        )
    if status.st_size > MOST_IMAGE:
        return LeftOut(printable(holder.prefix + name), f"it has more than {MOST_IMAGE:,} bytes")
    return Listed(holder, name, -1, status.st_size)


def _hub(recipe: Recipe, own: Mapping[str, Any], data_dir: str | None) -> list[_Part]:
    found, origins = find_files(recipe, **own, data_dir=data_dir)
    parts = []
    for split, origin in origins.items():
        none = InputError("dataset", "must have a row", origin)
        table = {"column": recipe.image_column, "origin": origin}
        parts.append(_Part(_in_tables(found.files[split], recipe), table, none))
    return parts


def _in_tables(files: Sequence[Path], recipe: Recipe) -> Iterator[Entry]:
    for file in files:
        holder = container(file, file.name)
        yield holder
        for number, size in enumerate(chunk_sizes(file, recipe.image_column, recipe.label_column)):
            yield Listed(holder, "", number, size)


def _csv(recipe: Recipe, own: Mapping[str, Any], data_dir: str | None) -> list[_Part]:
    found = listed_files(recipe, **own)
    none = InputError("dataset.path", "must have a row", recipe.path)
    return [_Part(_checked(recipe, _in_rows(found, part)), None, none) for part in found.parts]


def _in_rows(found: ListedFiles, part: Sequence[File]) -> Iterator[Entry]:
    """Images in the order of a table, which was read whole."""
    yield from map(container, found.tables)
    holder_of = lru_cache(maxsize=_AT_ONCE)(container)
    for file in part:
        folder, base = os.path.split(file.path)
        if os.path.isdir(folder) and file.name.endswith(base):
            yield _file(holder_of(folder, file.name.removesuffix(base)), base, str(file.path))
        else:
            yield LeftOut(file.name, "there is no such file")


def _webdataset(recipe: Recipe, own: Mapping[str, Any], data_dir: str | None) -> list[_Part]:
    return [
        _Part(_checked(recipe, _in_archives(part, recipe)), None, no_sample(recipe))
        for part in find_archives(recipe, **own)
    ]


def _in_archives(part: Sequence[Archive], recipe: Recipe) -> Iterator[Entry]:
    for archive in part:
        holder = container(archive.path, archive.prefix)
        yield holder
        for sample in samples(archive):
            image = image_of(sample, recipe.image_column)
            if isinstance(image, str):
                yield LeftOut(sample.name, image)
            else:
                yield Listed(holder, image.name, image.start, image.size)


def _checked(recipe: Recipe, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Leave out unreadable images, or refuse them, as `on_bad_image` says."""
    if recipe.on_bad_image == "skip":
        for some in batched(entries, _AT_ONCE):
            yield from map_threads(lambda entry: _decodable(entry, recipe.max_pixels), some)
        return
    first: list[LeftOut] = []
    bad = count = 0
    for entry in entries:
        count += not isinstance(entry, Container)
        if isinstance(entry, LeftOut):
            bad += 1
            first += [entry] if len(first) < 5 else []
        else:
            yield entry
    if bad:
        listed = shortened(f"{name} ({why})" for name, why in first) + (
            f"; and {bad - 5} more" if bad > 5 else ""
        )
        rule = f"{bad} of {count} images can't be read: {listed}"
        raise InputError("dataset.on_bad_image", rule, hint="Repair them, or set dataset.on_bad_image=skip")


def _decodable(entry: Entry, max_pixels: int) -> Entry:
    if not isinstance(entry, Listed):
        return entry
    content = content_of(entry)
    try:
        if isinstance(content, UnreadableImageError):
            raise content
        check(content, max_pixels)
    except UnreadableImageError as error:
        return LeftOut(printable(entry.container.prefix + entry.name), str(error))
    return entry


_SOURCES: Mapping[str, Callable[[Recipe, Mapping[str, Any], str | None], list[_Part]]] = {
    "imagefolder": _imagefolder,
    "hub": _hub,
    "csv": _csv,
    "webdataset": _webdataset,
}
