"""Tensors of a TorchScript archive, read as data: no code of the archive runs.

``torch.jit.load`` would compile the archive's code, and a plain unpickler could call anything. Here a pickle
can only name tensors and the modules that hold them.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fused_clip.support.arrays import Array
from fused_clip.support.errors import InputError

_TYPES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
_PICKLE = "/data.pkl"


def check_archive(path: Path) -> None:
    """Raise InputError for a file that is no TorchScript archive, by its table of contents.

    Parameters
    ----------
    path : the file.
    """
    if not path.is_file():
        raise InputError("source", "must be an existing file", str(path))
    if not zipfile.is_zipfile(path):
        size = path.stat().st_size
        rule = f"must be a whole TorchScript archive; these {size:,} bytes are cut off, or of another kind"
        raise InputError("source", rule, str(path), hint="Download the file again")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if not any(name.endswith(_PICKLE) for name in names):
        raise InputError("source", "must be a TorchScript archive, and is another zip file", str(path))
    if not any("/code/" in name for name in names):
        rule = "must be a TorchScript archive, and is a checkpoint of torch.save (a plain state dict)"
        hint = "Save its state dict with safetensors.torch.save_file: backbone.pretrained takes that file"
        raise InputError("source", rule, str(path), hint=hint)


def read_tensors(path: Path) -> dict[str, Array]:
    """Read parameters and buffers by name, in the types of the file.

    Parameters
    ----------
    path : a TorchScript archive.

    Raises
    ------
    InputError
        If the file is no such archive, is damaged, or has anything but tensors in modules.
    """
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(_PICKLE))
            with archive.open(name) as file:
                root = _Unpickler(file, archive, name.removesuffix(_PICKLE)).load()
        return dict(_walk(root))
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
        rule = f"must be an intact TorchScript archive of tensors in modules ({error})"
        raise InputError("source", rule, str(path)) from error


class _Module:
    """Any class of the archive: its state, without its code."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors and modules, and refuses everything else.

    Parameters
    ----------
    file : the pickle.
    archive : that it stands in.
    folder : of the archive's files.
    """

    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self.archive, self.folder = archive, folder
        self.storages: dict[str, Array] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if module == "torch" and name in _TYPES:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch.jit._pickle":  # a list, and the type of its elements
            return _first
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Array:
        _, kind, key, *_ = pid
        if key not in self.storages:
            content = self.archive.read(f"{self.folder}/data/{key}")  # zipfile checks its CRC
            self.storages[key] = np.frombuffer(content, _TYPES[kind])
        return self.storages[key]


def _first(value: object, *_: object) -> object:
    return value


def _tensor(
    storage: Array, offset: int, size: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> Array:
    """View of a storage; numpy raises ValueError where it would reach beyond the storage."""
    width = storage.itemsize
    steps = [stride * width for stride in strides]
    return np.ndarray(size, storage.dtype, storage.data, offset * width, steps)


def _walk(module: _Module, prefix: str = "") -> Iterator[tuple[str, Array]]:
    """Tensors of a module and of the modules in it, under dotted names."""
    for name, value in module.state.items() if isinstance(module.state, Mapping) else ():
        if isinstance(value, np.ndarray):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _walk(value, f"{prefix}{name}.")
