"""Weights files, on disk or in the hub's cache: checked by header and hash, without torch."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from fused_clip.support.errors import InputError
from fused_clip.support.files import sha256_once
from fused_clip.support.json_files import parse_json_object

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

OPTION = "backbone.pretrained"
OFFLINE = (
    "To work offline: copy the weights into the hub's cache (HF_HOME), or name a local .safetensors file "
    "with backbone.pretrained=<file> (docs/offline.md converts OpenAI's .pt), or use backbone=open "
    "(photos) or backbone=compact (digits)"
)
CONVERT = "python -m fused_clip.backbone.convert FILE.pt FILE.safetensors"
_HUB_SECONDS = 5.0
_PICKLES = {".pt", ".pth", ".bin", ".pkl", ".ckpt"}


class _Tensor(TypedDict):
    shape: list[int]
    data_offsets: tuple[int, int]


_HEADER = TypeAdapter(dict[str, _Tensor])


@dataclass(frozen=True)
class LocalWeights:
    """A safetensors file.

    Parameters
    ----------
    path : of the file.
    """

    path: Path

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise InputError for a file that is missing, a pickle, truncated or of another architecture.

        Parameters
        ----------
        shapes : shapes of some tensors of the model, by name; a file may lack some of them.
        """
        if self.path.suffix in _PICKLES:
            rule = "must be a .safetensors file: a pickle can run code when it is loaded"
            raise InputError(OPTION, rule, str(self.path), hint=f"Convert OpenAI's .pt with {CONVERT}")
        if not self.path.is_file():
            raise InputError(OPTION, "must be an existing file or a known tag", str(self.path))
        _check_shapes(self.path, shapes)

    def sha256(self) -> str:
        """Hash of the contents (hex), computed once per process unless the file changes."""
        return sha256_once(self.path)

    def fetch(self) -> Path:
        """Return the file."""
        return self.path


@dataclass(frozen=True)
class HubWeights:
    """Weights on the Hugging Face hub or in its cache.

    Parameters
    ----------
    repo : ``owner/name``.
    filenames : in order of preference; the first that exists is used. open_clip loads a pickle with
        ``weights_only=True``, which runs no code.
    """

    repo: str
    filenames: tuple[str, ...]

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise InputError for cached weights of another architecture, or a hub that can not be reached.

        Parameters
        ----------
        shapes : as for `LocalWeights.check`.
        """
        path = self._cached()
        if path is None:
            _on_hub(self.repo, self.filenames)
        elif path.suffix == ".safetensors":
            _check_shapes(path, shapes)

    def sha256(self) -> str:
        """Hash of the contents, by which the hub's cache names files."""
        path = self._cached()
        if path is None:
            return str(_on_hub(self.repo, self.filenames)[1].etag)
        stated = path.resolve().name
        return stated if re.fullmatch("[0-9a-f]{64}", stated) else LocalWeights(path).sha256()

    def fetch(self) -> Path:
        """Return the cached or downloaded file, after a check of its hash."""
        path = self._cached() or self._download()
        if LocalWeights(path).sha256() != self.sha256():
            rule = "the cached weights are damaged (their SHA-256 is wrong); delete them and run again"
            raise InputError(OPTION, rule, str(path.resolve()))
        return path

    def _cached(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = (try_to_load_from_cache(self.repo, name) for name in self.filenames)
        return next((Path(path) for path in found if isinstance(path, str)), None)

    def _download(self) -> Path:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(self.repo, _on_hub(self.repo, self.filenames)[0]))


def record_path(weights: Path) -> Path:
    """Place of the record of a conversion: ``a.source.json`` next to ``a.safetensors``.

    Parameters
    ----------
    weights : the safetensors file.
    """
    return weights.with_suffix(".source.json")


def read_record(weights: Path) -> dict[str, str]:
    """Read the record that `fused_clip.backbone.convert` wrote with these weights; empty without one.

    Parameters
    ----------
    weights : the safetensors file.
    """
    path = record_path(weights)
    if not path.is_file():
        return {}
    try:
        record = parse_json_object(path.read_bytes())
        if not all(isinstance(record[name], str) for name in ("model", "weights_sha256", "source_sha256")):
            raise ValueError("it must have texts")
    except (OSError, ValueError, KeyError) as error:
        rule = "the record of a conversion must be as it was written; delete it to use the weights without"
        raise InputError(OPTION, rule, str(path)) from error
    return record


@functools.cache
def _on_hub(repo: str, filenames: tuple[str, ...]) -> tuple[str, HfFileMetadata]:
    """Name and metadata of the first file that the hub has."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for name in filenames:
        try:
            return name, get_hf_file_metadata(hf_hub_url(repo, name), timeout=_HUB_SECONDS)
        except EntryNotFoundError:
            continue
        except Exception as error:  # the client raises its transport's own errors, of several libraries
            rule = f"{repo} is not in the hub's cache, and the hub did not give it ({error})"
            raise InputError(OPTION, rule, hint=OFFLINE) from error
    raise InputError(OPTION, f"{repo} has none of {', '.join(filenames)}")


def _check_shapes(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise InputError for a safetensors file that is truncated or has tensors of other shapes."""
    hint = "Choose the backbone.model that these weights were made for"
    header = _read_header(path)
    for name, shape in shapes.items():
        found = tuple(header[name]["shape"]) if name in header else shape
        if found != shape:
            rule = f"weights must be of the model's architecture: {name} is {found} in {path}, not {shape}"
            raise InputError(OPTION, rule, hint=hint)
    if shapes and not shapes.keys() & header.keys():
        rule = f"weights must be of the model's architecture: {path} has none of {', '.join(shapes)}"
        raise InputError(OPTION, rule, hint=hint)


def _read_header(path: Path) -> dict[str, _Tensor]:
    """Tensors of a safetensors file by name (format: 8 bytes of length, JSON, data)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            raise InputError(OPTION, "must be a whole .safetensors file, and ends too early", str(path))
        text = file.read(length)
    try:
        tensors = parse_json_object(text)
        tensors.pop("__metadata__", None)
        header = _HEADER.validate_python(tensors)
        end = 8 + length + max(tensor["data_offsets"][1] for tensor in header.values())
    except ValueError as error:
        rule = "must be a .safetensors file: its header can't be read"
        raise InputError(OPTION, rule, str(path)) from error
    if size != end:
        rule = f"must be a whole .safetensors file: it has {size:,} bytes and its header says {end:,}"
        raise InputError(OPTION, rule, str(path))
    return header
