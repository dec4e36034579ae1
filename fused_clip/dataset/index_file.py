"""The files of an index of images: written as images are found, and mapped into memory."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from fused_clip.dataset.names import printable
from fused_clip.support.checksums import sealed, unsealed
from fused_clip.support.errors import InputError
from fused_clip.support.files import locked, read_regular, replacing, sha256, writable, write_atomic
from fused_clip.support.json_files import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
_FACTS = "index.json"
_BATCH = 4_096  # rows of a record batch: those that are Python objects at a time
_OPTION = "index"


class Container(NamedTuple):
    """What contains images: a folder, a tar file, or a table.

    Parameters
    ----------
    path : absolute.
    prefix : start of the names of its images.
    time : of change, in ns.
    size : bytes; 0 for a folder.
    """

    path: str
    prefix: str
    time: int
    size: int


class Listed(NamedTuple):
    """An image, or a chunk of a table.

    Parameters
    ----------
    container : that it is in.
    name : the rest of its name: for a file in a folder, that of the file.
    start : first byte in a tar file, number of the chunk in a table; -1 for a file of its own.
    size : bytes of an image, rows of a chunk.
    """

    container: Container
    name: str
    start: int
    size: int


class LeftOut(NamedTuple):
    """An image that can't be read: its name, and why."""

    name: str
    why: str


Entry = Container | Listed | LeftOut  # a container that comes alone has no image itself


def container(path: str | Path, prefix: str = "") -> Container:
    """Describe a container as it stands.

    Parameters
    ----------
    path : of a folder, tar file or table.
    prefix : start of the names of its images.
    """
    status = os.stat(path)
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return Container(os.path.abspath(path), prefix, status.st_mtime_ns, size)


class IndexFiles:
    """An index on disk.

    Parameters
    ----------
    folder : of the index.

    Raises
    ------
    InputError
        If it is missing, damaged or of another format.
    """

    def __init__(self, folder: Path) -> None:
        known = None
        while True:
            try:
                self.facts = _read_facts(folder)
                self.rows, self._containers = (_Batches(folder / name) for name in self.facts["files"])
                return
            except (OSError, ValueError, KeyError) as error:
                now = sha256(folder / _FACTS)
                if now == known:
                    rule = f"must be a folder with a whole index of images ({error})"
                    raise InputError(
                        _OPTION, rule, str(folder), hint="Delete it, and make it anew"
                    ) from error
                known = now  # another process may have replaced the index since: its old files go

    def containers(self) -> Iterator[Container]:
        """Give the containers in the order in which they were found."""
        return map(_container, self._containers.read(range(len(self._containers))))

    def listed(self, rows: Iterable[int]) -> Iterator[Listed]:
        """Give rows, in any order.

        Parameters
        ----------
        rows : numbers.
        """
        known: dict[int, Container] = {}
        for row in self.rows.read(rows):
            number = row["container"]
            if number not in known:
                if len(known) == _BATCH:
                    known.clear()
                known[number] = _container(next(self._containers.read([number])))
            yield Listed(known[number], os.fsdecode(row["name"]), row["start"], row["size"])


def write_files(folder: Path, entries: Iterable[Entry], facts: Mapping[str, Any]) -> None:
    """Write an index while its images are found; it replaces the one of that folder once it is whole.

    Parameters
    ----------
    folder : of the index; it is made.
    entries : images in the order of their rows, and containers before their images.
    facts : further values in types of JSON.
    """
    own = uuid4().hex[:16]
    names = [_named("images", own), _named("containers", own)]
    with writable(folder), locked(folder / ".lock", what="index of images"):
        before = {path.name for kind in ("images", "containers") for path in folder.glob(_named(kind, "*"))}
        with ExitStack() as stack:
            drafts = [stack.enter_context(replacing(folder / name)) for name in names]
            found = _write_batches(entries, *drafts)
        sums = {name: sha256(folder / name) for name in names}
        content = sealed({"format": FORMAT, "files": sums, **found, **facts})
        write_atomic(folder / _FACTS, json.dumps(content).encode())
        for name in before:
            (folder / name).unlink(missing_ok=True)


def _read_facts(folder: Path) -> dict[str, Any]:
    """Read the facts of an index, and compare its files with their checksums."""
    facts = unsealed(parse_json(read_regular(folder / _FACTS)), required=True)
    if facts["format"] != FORMAT:
        raise ValueError(f"its format is {facts['format']}, not {FORMAT}")
    for name, digest in facts["files"].items():
        if sha256(folder / name) != digest:
            raise ValueError(f"{name} differs from its checksum")
    return facts


def _named(kind: str, own: str) -> str:
    return f"{kind}-{own}.arrow"


def _container(row: Mapping[str, Any]) -> Container:
    return Container(os.fsdecode(row["path"]), os.fsdecode(row["prefix"]), row["time"], row["size"])


def _write_batches(entries: Iterable[Entry], images: Path, containers: Path) -> dict[str, Any]:
    """Write both Arrow files; return the number of rows, the listing and the images left out."""
    import pyarrow as pa

    texts, numbers = pa.binary(), pa.int64()
    columns = {"container": numbers, "name": texts, "start": numbers, "size": numbers}
    holders = {"path": texts, "prefix": texts, "time": numbers, "size": numbers}
    listing = hashlib.sha256()
    left_out: list[str] = []
    known: dict[Container, int] = {}
    with _Writer(images, pa.schema(columns)) as rows, _Writer(containers, pa.schema(holders)) as places:
        for entry in entries:
            if isinstance(entry, LeftOut):
                left_out.append(entry.name)
                continue
            holder = entry if isinstance(entry, Container) else entry.container
            if holder not in known:
                if len(known) == _BATCH:
                    known.clear()
                known[holder] = places.count
                places.add(os.fsencode(holder.path), os.fsencode(holder.prefix), holder.time, holder.size)
            if isinstance(entry, Listed):
                rows.add(known[holder], os.fsencode(entry.name), entry.start, entry.size)
                named = printable(holder.prefix + entry.name)
                listing.update(f"{named}\0{entry.start}\0{entry.size}\n".encode())
    return {"rows": rows.count, "listing": listing.hexdigest(), "skipped": left_out}


class _Writer:
    """An Arrow file that gets row after row; all batches but the last are full."""

    def __init__(self, file: Path, schema: "pa.Schema") -> None:
        import pyarrow as pa

        self.count = 0
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []
        self._file = pa.ipc.new_file(str(file), schema)

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self._flush()
        self._file.close()

    def add(self, *values: Any) -> None:
        self.count += 1
        self._rows.append(values)
        if len(self._rows) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            columns = zip(zip(*self._rows, strict=True), self._schema.types, strict=True)
            arrays = [pa.array(values, kind) for values, kind in columns]
            self._file.write_batch(pa.record_batch(arrays, schema=self._schema))
            self._rows.clear()


class _Batches:
    """Rows of an Arrow file that is mapped into memory."""

    def __init__(self, file: Path) -> None:
        import pyarrow as pa

        self._file = pa.ipc.open_file(pa.memory_map(str(file)))
        last = self._file.num_record_batches - 1
        self._count = last * _BATCH + self._file.get_batch(last).num_rows if last >= 0 else 0

    def __len__(self) -> int:
        return self._count

    def read(self, rows: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Read rows as Python values, those that follow each other in one batch at once."""
        import pyarrow as pa

        for batch, some in groupby(rows, lambda row: row // _BATCH):
            places: Sequence[int] = [row % _BATCH for row in some]
            yield from self._file.get_batch(batch).take(pa.array(places, pa.int64())).to_pylist()
