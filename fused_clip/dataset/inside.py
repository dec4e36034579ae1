"""Images stay inside their folder: paths of a table that lead out of it, and links, are refused."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from fused_clip.support.errors import InputError


def inside(folder: Path, option: str, way: str) -> Callable[[str | Path], None]:
    """Return a check of paths: InputError for one that is not below a folder once all links are resolved.

    Parameters
    ----------
    folder : that exists.
    option : names the path in errors.
    way : what a user can do, such as ``--outside-root reads it``.
    """
    top = os.path.join(os.path.realpath(folder), "")
    real = cache(os.path.realpath)  # of folders, which many images share

    def check(path: str | Path) -> None:
        parent, name = os.path.split(path)
        try:
            linked = name in ("", "..") or os.path.islink(path)
            place = os.path.realpath(path) if linked else os.path.join(real(parent), name)
        except ValueError:  # a name that no file can have: it can't be read either
            return
        if not os.path.join(place, "").startswith(top):
            raise InputError(option, f"must be inside {folder}", str(path), hint=way)

    return check
