"""What is predicted so far, beside the file that it will become: one line of JSON an image."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fused_clip.support.errors import InputError

Record = Mapping[str, Any]


class Journal:
    """Predictions that outlast a kill.

    The first line says what is predicted of what; a line that was cut short is dropped. So the same command
    goes on after the last whole line.

    Parameters
    ----------
    path : the journal.
    job : all that decides the predictions, as JSON holds it.
    fresh : whether the journal of another job, or of images that are not the same any more, gives way.

    Raises
    ------
    InputError
        If there is the journal of another job, or a file that is none; if the journal can't be written.
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
        """Add records, of which all or a part are kept if the process is killed.

        Raises
        ------
        InputError
            If there is no room.
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
            rule = "keeps what is predicted so far in a file that is there and is something else"
            raise InputError("out", rule, str(self.path), hint="Give another --out, or move that file")
        if not self.fresh:
            hint = "Give another --out, or --overwrite to start anew"
            rule = "holds what another model, other images or other options predicted"
            raise InputError("out", rule, str(self.path), hint=hint)


def _is_job(line: bytes) -> bool:
    try:
        job = json.loads(line)
    except ValueError:
        return False
    return isinstance(job, dict) and "format" in job


def _unwritable(path: Path, error: OSError) -> InputError:
    hint = "What is predicted is kept: free space, and run the same command again"
    return InputError("out", f"{path} can't be written ({error.strerror})", hint=hint)
