"""What a shard has written, and with which encoder."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from fused_clip.backbone.base import Backbone
from fused_clip.store.shard import Shard
from fused_clip.support.checksums import unsealed
from fused_clip.support.files import read_regular
from fused_clip.support.json_files import parse_json
from fused_clip.support.versions import PACKAGE, versions

log = logging.getLogger(__name__)
_DECODING = (PACKAGE, "numpy", "pillow")  # besides the backbone's libraries


class Encoder(BaseModel):
    """What embeds the images, to be compared between machines.

    Parameters
    ----------
    fingerprint : of the backbone.
    versions : of the libraries that decode and embed.
    """

    fingerprint: str
    versions: dict[str, str]

    @classmethod
    def of(cls, backbone: Backbone) -> Encoder:
        """Describe a backbone on this machine.

        Parameters
        ----------
        backbone : embeds the images.
        """
        libraries = getattr(backbone, "libraries", ())
        return cls(fingerprint=backbone.fingerprint, versions=versions((*_DECODING, *libraries)))

    def difference(self, other: Encoder) -> str:
        """Name what differs from another; empty if nothing does.

        Parameters
        ----------
        other : to compare with.
        """
        names = sorted(self.versions.keys() | other.versions.keys())
        pairs = [(name, self.versions.get(name, "none"), other.versions.get(name, "none")) for name in names]
        found = [f"{name} {own} and {theirs}" for name, own, theirs in pairs if own != theirs]
        if self.fingerprint != other.fingerprint and not found:
            found = [f"fingerprints {self.fingerprint[:12]} and {other.fingerprint[:12]}"]
        return ", ".join(found)


class Part(BaseModel):
    """List of what a shard has written.

    Parameters
    ----------
    format : version of this layout.
    number, of : the shard.
    encoder : that embedded it.
    files : SHA-256 (hex) of each array.
    """

    format: Literal[1] = 1
    number: int
    of: int
    encoder: Encoder
    files: dict[str, str]

    @property
    def shard(self) -> Shard:
        """The shard that wrote it."""
        return Shard(self.number, self.of)

    def starts(self) -> set[int]:
        """First rows of the blocks that are written with their digests."""
        return written(self.files)


def written(names: Iterable[str]) -> set[int]:
    """First rows of the blocks whose rows and digests are both among some arrays.

    Parameters
    ----------
    names : of the arrays.
    """
    found: dict[str, set[int]] = {"rows": set(), "digests": set()}
    for kind, _, start in (name.partition("-") for name in names):
        if kind in found and start.isdecimal():
            found[kind].add(int(start))
    return found["rows"] & found["digests"]


def read_part(file: Path) -> Part | None:
    """Read the list of a shard; None, with a warning, for a damaged one.

    Parameters
    ----------
    file : of the list.
    """
    try:
        part = Part.model_validate(unsealed(parse_json(read_regular(file)), required=True))
        own = part.shard.file == file.name
    except FileNotFoundError:  # merged meanwhile
        return None
    except (OSError, ValueError):
        own = False
    if not own:
        log.warning("%s is damaged: its shard is written anew", file)
        return None
    return part
