import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fused_clip.predict.journal import Journal
from fused_clip.support.checksums import unsealed
from fused_clip.support.errors import InputError

JOB = {"format": 2, "model": "m", "images": "i"}
ANSWER = {"target": "cat", "probability": None, "margin": 0.25, "runner_up": "dog", "abstained": False}
RECORDS = [
    {"path": f"a\n\u2028{row}.png", "state": [1, row], **ANSWER, "cluster": row, "p:dog": 0.5}
    for row in range(5)
] + [{"path": "b.png", "state": None, "error": "it is no image"}]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 10_000))
def test_a_journal_goes_on_after_its_last_whole_line(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    path.unlink(missing_ok=True)
    journal = Journal(path, JOB, fresh=False)
    journal.extend(RECORDS[:2])
    journal.extend(RECORDS[2:])
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    again = Journal(path, JOB, fresh=False)
    kept = list(again)
    assert kept == RECORDS[: len(kept)]
    assert len(kept) == max(0, whole[:cut].count(b"\n") - 1)
    again.extend(RECORDS[len(kept) :])
    assert path.read_bytes() == whole


def test_a_journal_of_another_job_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    Journal(path, JOB, fresh=False).extend(RECORDS)
    with pytest.raises(InputError, match=r"out: has partial predictions of another model.*--overwrite"):
        Journal(path, {**JOB, "model": "n"}, fresh=False)
    assert list(Journal(path, JOB, fresh=True)) == RECORDS, "the same job goes on"
    assert list(Journal(path, {**JOB, "model": "n"}, fresh=True)) == []


def test_a_place_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out: .*can't be written \(No such file"):
        Journal(tmp_path / "none" / "out.partial", JOB, fresh=False)


def test_a_line_is_an_image(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.partial", JOB, fresh=False)
    journal.extend(RECORDS)
    lines = journal.path.read_bytes().splitlines()
    assert [unsealed(json.loads(line), required=True) for line in lines[1:]] == RECORDS
    journal.remove()
    assert not journal.path.exists()


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    for content in (b"mine", b"mine\nand mine\n", b'{"a": 1}\n', b"\xff\xfe"):
        path.write_bytes(content)
        for fresh in (False, True):
            with pytest.raises(
                InputError, match="out: needs this path for partial predictions, and another file is there"
            ):
                Journal(path, JOB, fresh=fresh)
        assert path.read_bytes() == content


def test_a_damaged_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    Journal(path, JOB, fresh=False).extend(RECORDS)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"{damage\n", *lines[3:]]))
    with pytest.raises(InputError, match="is damaged in line 3"):
        list(Journal(path, JOB, fresh=False))


@pytest.mark.parametrize("line", [b"[]", b"1", b'{"a":' * 100_000, b"\xff"], ids=range(4))
def test_a_line_that_is_no_record_is_damage(line: bytes, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.partial", JOB, fresh=False)
    with journal.path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(InputError, match="is damaged in line 2"):
        list(journal)
    journal.path.write_bytes(line + b"\n")
    with pytest.raises(InputError, match="another file is there"):
        Journal(journal.path, JOB, fresh=True)


def test_a_changed_digit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    Journal(path, JOB, fresh=False).extend(RECORDS)
    path.write_bytes(path.read_bytes().replace(b"0.25", b"0.75", 1))
    with pytest.raises(InputError, match=r"is damaged in line 2\. Delete it"):
        list(Journal(path, JOB, fresh=False))


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.partial")
    with pytest.raises(InputError, match="another file is there"):
        Journal(tmp_path / "out.partial", JOB, fresh=False)
