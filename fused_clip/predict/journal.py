"""The predictions so far, in the folder of the file that they become: one line of JSON an image."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fused_clip.support.errors import InputError

Record = Mapping[str, Any]


class Journal:
    """Predictions that survive a kill.

    The first line describes the job. A last line that was cut short is dropped, so the same command goes on
    after the last whole line.

    Parameters
    ----------
    path : the journal.
    job : all that decides the predictions, in types of JSON.
    fresh : whether the journal of another job, or of images that have changed, is replaced.

    Raises
    ------
    InputError
        If the file is the journal of another job, or no journal; if it can't be written.
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
                    record = json.loads(line)
                except ValueError as error:
                    rule = f"{self.path} is damaged in line {number}"
                    raise InputError("out", rule, hint="Delete it to start anew") from error
                yield record

    def extend(self, records: Sequence[Record]) -> None:
        """Add records; if the process is killed, the first of them may be kept.

        Parameters
        ----------
        records : one an image, in types of JSON.

        Raises
        ------
        InputError
            If the disk is full.
        """
        lines = [json.dumps(record, ensure_ascii=True) + "\n" for record in records]
        try:
            with self.path.open("ab") as file:
                file.write("".join(lines).encode())
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def clear(self) -> None:
        """Drop all records.

        Raises
        ------
        InputError
            If the journal can't be written.
        """
        self._cut(0)

    def remove(self) -> None:
        """Delete the journal: the file is written."""
        os.unlink(self.path)

    def _cut(self, size: int) -> None:
        """Keep the first bytes; with none, begin."""
        try:
            with self.path.open("ab") as file:
                file.truncate(size)
                if size == 0:
                    file.write(self._head)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _whole_lines(self) -> int:
        """Bytes of the lines that are there and whole; 0 where there is no journal of this job."""
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
        """Refuse a first line that is neither cut short nor of a journal that gives way."""
        if self._head.startswith(head):
            return
        if not _is_job(head):
            rule = "needs this place for the predictions so far, where another file is"
            raise InputError("out", rule, str(self.path), hint="Give another --out, or move that file")
        if not self.fresh:
            hint = "Give another --out, or --overwrite to start anew"
            rule = "has partial predictions of another model, other images or other options"
            raise InputError("out", rule, str(self.path), hint=hint)


def _is_job(line: bytes) -> bool:
    try:
        job = json.loads(line)
    except ValueError:
        return False
    return isinstance(job, dict) and "format" in job


def _unwritable(path: Path, error: OSError) -> InputError:
    hint = "The predictions so far are kept: free space, and run the same command again"
    return InputError("out", f"{path} can't be written ({error.strerror})", hint=hint)
