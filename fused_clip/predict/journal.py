"""Partial predictions on disk: one line of JSON per image, with its checksum."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fused_clip.support.checksums import sealed_line, unsealed
from fused_clip.support.errors import InputError
from fused_clip.support.json_files import parse_json_object

Record = Mapping[str, Any]


class Journal:
    """Predictions that survive a kill; InputError if the file is in use by another job, or not writable.

    The first line describes the job. An incomplete last line is dropped.

    Parameters
    ----------
    path : the journal.
    job : everything that decides the predictions, in types of JSON.
    fresh : whether to replace the journal of another job or of changed images.
    """

    def __init__(self, path: Path, job: Mapping[str, Any], *, fresh: bool) -> None:
        self.path = path
        self.fresh = fresh
        self._head = json.dumps(job, sort_keys=True).encode() + b"\n"
        self._cut(self._whole_lines())

    def __iter__(self) -> Iterator[Record]:
        with self.path.open("rb") as file:
            file.readline()
            for number, line in enumerate(file, 2):
                try:
                    yield unsealed(parse_json_object(line), required=True)
                except ValueError as error:
                    rule = f"{self.path} is damaged in line {number}"
                    raise InputError("out", rule, hint="Delete it to start anew") from error

    def extend(self, records: Sequence[Record]) -> None:
        """Append records.

        Parameters
        ----------
        records : one per image, in types of JSON.
        """
        lines = map(sealed_line, records)
        with write_errors(self.path), self.path.open("ab") as file:
            file.write("".join(lines).encode())

    def clear(self) -> None:
        """Drop all records."""
        self._cut(0)

    def remove(self) -> None:
        """Delete the journal."""
        os.unlink(self.path)

    def _cut(self, size: int) -> None:
        """Keep the first bytes; write the first line if none are kept."""
        with write_errors(self.path), self.path.open("ab") as file:
            file.truncate(size)
            if size == 0:
                file.write(self._head)

    def _whole_lines(self) -> int:
        """Size of the complete lines, in bytes; 0 without a journal of this job."""
        if not self.path.exists():
            return 0
        if not self.path.is_file():  # a FIFO would never end
            raise self._another()
        file = self.path.open("rb")
        with file:
            head = file.readline()
            if head != self._head:
                self._refuse_others(head)
                return 0
            end = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end = file.tell()
        return end

    def _refuse_others(self, head: bytes) -> None:
        """Raise InputError for the first line of another file or, unless fresh, of another job."""
        if self._head.startswith(head):
            return
        if not _is_job(head):
            raise self._another()
        if not self.fresh:
            hint = "Give another --out, or --overwrite to start anew"
            rule = "has partial predictions of another model, other images or other options"
            raise InputError("out", rule, str(self.path), hint=hint)

    def _another(self) -> InputError:
        rule = "needs this path for partial predictions, and another file is there"
        return InputError("out", rule, str(self.path), hint="Give another --out, or move that file")


def _is_job(line: bytes) -> bool:
    try:
        return "format" in parse_json_object(line)
    except ValueError:
        return False


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn OSError into InputError with the next step.

    Parameters
    ----------
    path : that the block writes to.
    """
    try:
        yield
    except OSError as error:
        hint = "The predictions so far are kept: free space, and run the same command again"
        raise InputError("out", f"{path} can't be written ({error.strerror or error})", hint=hint) from error
