"""Drafts: no two alike, and removed once their writer is gone."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fused_clip.support.drafts import draft_of, left_behind, remove_drafts
from fused_clip.support.files import replacing, write_atomic
from tests.killed import draft_of_a_killed_process


def test_no_two_writers_share_a_draft(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        drafts = set(pool.map(lambda _: draft_of(tmp_path / "a.json"), range(1_000)))
    assert len(drafts) == 1_000
    assert {draft.parent for draft in drafts} == {tmp_path}


def test_a_file_may_have_the_longest_name(tmp_path: Path) -> None:
    name = "\N{OLD PERSIAN NUMBER ONE}" * 63
    write_atomic(tmp_path / name, b"x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_writer_that_lives_keeps_its_draft(tmp_path: Path) -> None:
    mine, dead = draft_of(tmp_path / "a"), draft_of_a_killed_process(tmp_path / "a")
    other = draft_of_a_killed_process(tmp_path / "b")
    for draft in (mine, dead, other, tmp_path / "a.draft", tmp_path / "a"):
        draft.touch()
    assert list(left_behind(tmp_path, "a")) == [dead]
    remove_drafts(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, tmp_path / "a.draft", tmp_path / "a"])


def test_a_draft_of_a_machine_that_is_not_known_is_kept_for_a_day(tmp_path: Path) -> None:
    draft = tmp_path / "a.0123abcd-1-0123456789ab.draft"
    draft.touch()
    assert list(left_behind(tmp_path)) == []
    os.utime(draft, times=(0, time.time() - 90_000))
    assert list(left_behind(tmp_path)) == [draft]


def test_replacing_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    draft_of_a_killed_process(tmp_path / "a").write_bytes(b"half")
    with replacing(tmp_path / "a") as draft:
        draft.write_bytes(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_draft_may_be_nobody_s_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = draft_of_a_killed_process(tmp_path / "a")
    draft.touch()
    monkeypatch.setattr(Path, "unlink", lambda *_: os.open("/nowhere/at/all", os.O_RDONLY))
    remove_drafts(tmp_path)
    assert draft.exists()
