"""Files that a user names: regular ones of bounded size, and YAML that does not grow by its aliases."""

import errno
import os
import stat
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

MOST_TEXT = 64 << 20  # bytes: descriptions of 20,000 classes take 10 MiB
MOST_IMAGE = 2 << 30  # bytes: 200 million pixels of 16-bit colour take 1.2 GB
_MOST_NODES = 2_000_000


def read_user_file(path: Path, most: int = MOST_TEXT) -> bytes:
    """Read a file; a pipe or a device, which may never end, is not opened for reading.

    Parameters
    ----------
    path : of the file.
    most : bytes; a larger file is an error.

    Raises
    ------
    OSError
        If there is no such file, it is no regular file, is larger, or can't be read; also for a name that no
        file can have.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a name with a zero byte
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, and must be a file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def load_yaml(text: str | bytes) -> Any:
    """Parse YAML from a user.

    Parameters
    ----------
    text : YAML; bytes are UTF-8.

    Raises
    ------
    ValueError
        If it is no YAML, names a key twice, is nested too deeply, or aliases make it endless or larger than
        2 million values.
    """
    import yaml

    try:
        content = yaml.load(text if isinstance(text, str) else text.decode(), _loader())  # noqa: S506  # safe
        _size(content, {}, set())
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"{problem}{where}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return content


def _loader() -> "type[yaml.SafeLoader]":
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses keys that stand twice, of which PyYAML keeps the last."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value:
                name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else ("", "")
                if name[1] and name in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice", key.start_mark
                    )
                seen.add(name)
            return super().construct_mapping(node, deep)

    return Loader


def _size(content: object, known: dict[int, int], open_: set[int]) -> int:
    """Count the values, those behind aliases each time they are named."""
    if not isinstance(content, (dict, list)):
        return 1
    place = id(content)
    if place in open_:
        raise ValueError("an alias names what it is part of")
    if place not in known:
        open_.add(place)
        inner = [*content, *content.values()] if isinstance(content, dict) else content
        known[place] = 1 + sum(_size(value, known, open_) for value in inner)
        open_.discard(place)
        if known[place] > _MOST_NODES:
            raise ValueError(f"aliases make it larger than {_MOST_NODES:,} values")
    return known[place]
