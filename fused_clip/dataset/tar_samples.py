"""Samples of tar files as WebDataset groups them: members in a row that share a key."""

import glob
import hashlib
import os
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fused_clip.dataset.columns import refuse_repeated
from fused_clip.dataset.folder import OUTSIDE
from fused_clip.dataset.folder_walk import image_suffixes
from fused_clip.dataset.inside import inside
from fused_clip.dataset.names import printable, shortened
from fused_clip.dataset.recipe import Recipe
from fused_clip.dataset.tar_members import Member, members
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_IMAGE

ANY_IMAGE = "image"
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST_ARCHIVES = 1_000_000


class Archive(NamedTuple):
    """A tar file, the start of its rows' names, and the option that names it."""

    path: Path
    prefix: str
    option: str


class Sample(NamedTuple):
    """Members that share a key.

    Parameters
    ----------
    archive : that they are in.
    key : their name up to the first dot after the last slash.
    members : extension in lower case -> member.
    """

    archive: Archive
    key: str
    members: Mapping[str, Member]

    @property
    def name(self) -> str:
        """Archive and key."""
        return printable(self.archive.prefix + self.key)


def find_archives(recipe: Recipe, test_path: str | None = None) -> Sequence[Sequence[Archive]]:
    """Find the tar files of each part that is used.

    Parameters
    ----------
    recipe : the shared options; `path` names the files of the training part, or of all.
    test_path : the files of the test part.
    """
    named = {"dataset.path": recipe.path, "dataset.test_path": test_path}
    found = {
        option: _matching(option, pattern, recipe)
        for option, pattern in named.items()
        if option == "dataset.path" or pattern is not None
    }
    paths = [os.path.abspath(path) for some in found.values() for path in some]
    refuse_repeated("dataset.path", "tar file", paths)
    top = os.path.commonpath([os.path.dirname(path) for path in paths])
    parts = [
        [Archive(path, f"{os.path.relpath(path, top).removesuffix('.tar')}/", option) for path in some]
        for option, some in found.items()
    ]
    refuse_repeated("dataset.path", "name of a tar file", (one.prefix for part in parts for one in part))
    return recipe.used(parts)


def samples(archive: Archive) -> Iterator[Sample]:
    """Group the members of a tar file; hidden files and those without an extension are ignored.

    Parameters
    ----------
    archive : the file.

    Raises
    ------
    InputError
        If the file can't be read, a sample has two members of one extension, or a key comes back later.
    """
    seen = array("Q")
    key, group = "", dict[str, Member]()
    for member in members(archive.option, archive.path):
        folder, slash, base = member.name.rpartition("/")
        start, dot, extension = base.partition(".")
        if not (start and dot) or folder.startswith("__MACOSX"):
            continue
        own, extension = f"{folder}{slash}{start}", extension.lower()
        if group and own != key:
            yield Sample(archive, key, group)
            seen.append(_hash(key))
            group = {}
        if extension in group:
            raise _repeated(archive, f"{own}.{extension}")
        key, group[extension] = own, member
    if group:
        yield Sample(archive, key, group)
        seen.append(_hash(key))
    _refuse_returning(archive, seen)


def image_of(sample: Sample, column: str) -> Member | str:
    """Give the image of a sample, or the reason why there is none.

    Parameters
    ----------
    sample : of a tar file.
    column : extension of the image, or several in order of preference, separated by semicolons; ``image`` for
        the one with the extension of an image.

    Raises
    ------
    InputError
        If there are several images to choose from.
    """
    if column == ANY_IMAGE:
        found = [name for name in sample.members if f".{name}" in image_suffixes()]
    else:
        found = [name for name in column.lower().split(";") if name in sample.members][:1]
    if len(found) > 1:
        rule = f"must choose one of the images of sample {sample.name} ({', '.join(sorted(found))})"
        raise InputError("dataset.image_column", rule, column, choices=sorted(found))
    if not found:
        return f"it has no image, but {', '.join(map(printable, sorted(sample.members)))}"
    member = sample.members[found[0]]
    return member if member.size <= MOST_IMAGE else f"it has more than {MOST_IMAGE:,} bytes"


def _matching(option: str, pattern: str | None, recipe: Recipe) -> list[Path]:
    """Tar files of a folder, those that braces and globs name, or one, in order."""
    if not pattern:
        raise InputError(option, "must name tar files", pattern, hint="For example 'shards/*.tar'")
    place = Path(pattern).expanduser()
    if place.is_dir():
        found = sorted(path for path in place.glob("*.tar") if not path.name.startswith("."))
        check = inside(place, option, f"{OUTSIDE} follows the link")
        for path in () if recipe.outside_root else found:
            check(path)
        if not found:
            raise InputError(option, "must contain a tar file (.tar)", pattern)
        return found
    if place.is_file():
        return [place]
    names = list(_expanded(option, str(place)))
    matches = {name: sorted(glob.glob(name, recursive=True)) for name in names if glob.has_magic(name)}
    missing = [name for name in names if not (matches[name] if name in matches else os.path.isfile(name))]
    if missing:
        rule = f"{len(missing)} of {len(names)} tar files are not there: {shortened(missing)}"
        raise InputError(
            option, rule, pattern, hint="A folder, braces as in {000..009}, * and ? name several"
        )
    return [Path(path) for name in names for path in matches.get(name, [name])]


def _expanded(option: str, pattern: str) -> Iterator[str]:
    """Names that a pattern with braces stands for, the last braces counting fastest."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    numbers = _RANGE.fullmatch(braces[1])
    if numbers is None and "," not in braces[1]:
        raise InputError(option, "must have a range {000..009} or a list {a,b} in braces", pattern)
    if numbers is None:
        words: Iterator[str] = iter(braces[1].split(","))
    else:
        first, last = int(numbers[1]), int(numbers[2])
        width = max(map(len, numbers.groups())) if "0" in (numbers[1][0], numbers[2][0]) else 0
        if abs(last - first) >= _MOST_ARCHIVES:
            raise InputError(option, f"must name at most {_MOST_ARCHIVES:,} tar files", pattern)
        step = 1 if first <= last else -1
        words = (f"{number:0{width}}" for number in range(first, last + step, step))
    for word in words:
        yield from _expanded(option, pattern[: braces.start()] + word + pattern[braces.end() :])


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(key), digest_size=8).digest(), "little")


def _refuse_returning(archive: Archive, seen: "array[int]") -> None:
    """Refuse a key that comes back after another one: 8 bytes a sample are kept to see it, not the key."""
    hashes, counts = np.unique(np.frombuffer(seen, np.uint64), return_counts=True)
    twice = set(hashes[counts > 1].tolist())
    known: set[str] = set()
    for member in members(archive.option, archive.path) if twice else ():
        folder, slash, base = member.name.rpartition("/")
        key = f"{folder}{slash}{base.partition('.')[0]}"
        if _hash(key) in twice and key in known:
            raise _repeated(archive, key)
        known.add(key)


def _repeated(archive: Archive, name: str) -> InputError:
    rule = f"must have the members of a sample in a row, each once; {printable(name)} comes again"
    return InputError(archive.option, rule, str(archive.path), hint="Pack the files sorted by name")
