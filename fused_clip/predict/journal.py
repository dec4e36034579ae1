"""Partial predictions on disk: one line of JSON per image."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fused_clip.support.errors import InputError
from fused_clip.support.json_files import parse_json_object

Record = Mapping[str, Any]
_ANSWER = {"target", "probability", "margin", "runner_up", "cluster", "abstained"}


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
                    yield _record(line)
                except ValueError as error:
                    rule = f"{self.path} is damaged in line {number}"
                    raise InputError("out", rule, hint="Delete it to start anew") from error

    def extend(self, records: Sequence[Record]) -> None:
        """Append records.

        Parameters
        ----------
        records : one per image, in types of JSON.
        """
        lines = [json.dumps(record, ensure_ascii=True) + "\n" for record in records]
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
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return 0
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
            rule = "needs this path for partial predictions, and another file is there"
            raise InputError("out", rule, str(self.path), hint="Give another --out, or move that file")
        if not self.fresh:
            hint = "Give another --out, or --overwrite to start anew"
            rule = "has partial predictions of another model, other images or other options"
            raise InputError("out", rule, str(self.path), hint=hint)


def _is_job(line: bytes) -> bool:
    try:
        return "format" in parse_json_object(line)
    except ValueError:
        return False


def _record(line: bytes) -> Record:
    """A line of the journal; raises ValueError for another."""
    record = parse_json_object(line)
    answer = {"error"} if "error" in record else _ANSWER
    if not record.keys() >= {"path", "state"} | answer or not all(
        _fits(name, value) for name, value in record.items()
    ):
        raise ValueError("it is no record")
    return record


def _fits(name: str, value: object) -> bool:
    """Whether a value is of the type that `fused_clip.predict.answers` writes it as."""
    if value is None:
        return name not in ("path", "error", "abstained")
    if name.startswith(("probability", "margin", "p:")):
        return isinstance(value, float)
    if name == "state":
        return isinstance(value, list)
    if name == "cluster":
        return type(value) is int and -(2**31) <= value < 2**31
    if name == "abstained":
        return isinstance(value, bool)
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value


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
