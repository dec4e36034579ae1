"""The store: computed once, the same bytes whatever happens to it, and never silently wrong."""

import errno
import json
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fused_clip.dataset.vectors import Vectors
from fused_clip.store import Store, blocks, entry
from fused_clip.store.__main__ import main
from fused_clip.support import files
from fused_clip.support.errors import InputError
from tests.attack import rot
from tests.conftest import ArrayRows
from tests.fakes import FakeBackbone
from tests.killed import draft_of_a_killed_process

N = 50
SHARD = 16
IMAGES = ArrayRows("toy", N)
ALL = np.arange(N)


@pytest.fixture(autouse=True)
def small_and_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_LEAST_ROWS", SHARD)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "out" / "store"


def expected(rows: np.ndarray = ALL) -> np.ndarray:
    return FakeBackbone().encode_images(IMAGES.read(rows))


def entries(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*-*") if path.is_dir())


def contents(root: Path) -> dict[str, bytes]:
    """Every file of every entry, without the times in the manifests."""
    files = {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("*-*/*"))}
    for name in [name for name in files if name.endswith("manifest.json")]:
        files[name] = re.sub(rb'"created":\s*"[^"]*"', b"", files[name])
    return files


def fill(root: Path) -> dict[str, bytes]:
    Store(root).images(FakeBackbone(), IMAGES, ALL)
    return contents(root)


# What is given and what is computed


def test_rows_are_embedded_once(root: Path) -> None:
    first, again = FakeBackbone(), FakeBackbone()
    np.testing.assert_array_equal(Store(root).images(first, IMAGES, ALL), expected())
    assert sum(first.batches) == N
    store = Store(root)
    got = store.images(again, IMAGES, ALL)
    np.testing.assert_array_equal(got, expected())
    assert got.dtype == np.float32
    assert again.batches == []
    assert again.loads == 0
    assert (store.embedded_images, store.embedded_seconds) == (0, 0.0)


def test_what_was_embedded_is_counted(root: Path) -> None:
    store = Store(root)
    store.images(FakeBackbone(), IMAGES, ALL)
    assert store.embedded_images == N
    assert 0 < store.embedded_seconds < 60


def test_every_shard_is_whole_batches(root: Path) -> None:
    Store(root).images(FakeBackbone(batch_size=6), IMAGES, ALL)
    shards = [np.load(path) for path in sorted(entries(root)[0].glob("*.npy"))]
    assert [len(shard) for shard in shards] == [18, 18, 14]
    assert all(shard.dtype == np.float32 for shard in shards)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.integers(0, N - 1), max_size=80), prepared=st.booleans())
def test_any_rows_in_any_order_are_right(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], prepared: bool
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    if prepared:
        store.images(FakeBackbone(), IMAGES, ALL)
    asked = np.array(rows, dtype=np.int64)
    got = store.images(FakeBackbone(), IMAGES, asked)
    assert got.shape == (len(rows), 5)
    np.testing.assert_array_equal(got, expected(asked))


def test_half_of_a_parent_or_more_embeds_it_whole(root: Path) -> None:
    backbone = FakeBackbone()
    store = Store(root)
    store.images(backbone, IMAGES, ALL[: N // 2])
    assert sum(backbone.batches) == N
    store.images(backbone, IMAGES, ALL[N // 2 :])
    assert sum(backbone.batches) == N


def test_less_than_half_embeds_those_rows_alone(root: Path) -> None:
    backbone = FakeBackbone()
    store = Store(root)
    few = np.array([40, 3, 3, 17])
    np.testing.assert_array_equal(store.images(backbone, IMAGES, few), expected(few))
    assert sum(backbone.batches) == 3
    store.images(backbone, IMAGES, few[::-1])
    assert sum(backbone.batches) == 3, "the same rows in another order are the same entry"
    store.images(backbone, IMAGES, few[:2])
    assert sum(backbone.batches) == 5


def test_a_parent_that_is_there_serves_any_of_its_rows(root: Path) -> None:
    fill(root)
    backbone = FakeBackbone()
    Store(root).images(backbone, IMAGES, np.array([1, 2]))
    assert backbone.batches == []
    assert len(entries(root)) == 1


def test_texts_are_embedded_once_in_their_order(root: Path) -> None:
    store, backbone = Store(root), FakeBackbone()
    texts = ["a cat", "a dog", "ünïcode \N{SNOWMAN}"]
    got = store.texts(backbone, texts)
    np.testing.assert_array_equal(got, FakeBackbone().encode_texts(texts))
    np.testing.assert_array_equal(Store(root).texts(backbone, tuple(texts)), got)
    assert backbone.batches == [3]
    np.testing.assert_array_equal(store.texts(backbone, texts[::-1]), got[::-1])
    assert store.texts(backbone, []).shape == (0, 5)
    assert backbone.batches == [3, 3]


def test_texts_that_join_alike_are_told_apart(root: Path) -> None:
    store, backbone = Store(root), FakeBackbone()
    for texts in (["ab", "c"], ["a", "bc"], ["abc"], ['a", "b'], ["a", "b"]):
        np.testing.assert_array_equal(store.texts(backbone, texts), FakeBackbone().encode_texts(texts))


def test_small_arrays_are_computed_once_a_key(root: Path) -> None:
    calls = []

    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"labels": np.array([3, 1, 2]), "centers": np.eye(2, dtype=np.float32)}

    for _ in range(2):
        got = Store(root).cached("clusters", {"k": 3, "seed": 0, "of": "x"}, compute)
        assert sorted(got) == ["centers", "labels"]
        np.testing.assert_array_equal(got["labels"], [3, 1, 2])
        assert got["centers"].dtype == np.float32
    assert len(calls) == 1
    for other in (
        {"k": 4, "seed": 0, "of": "x"},
        {"k": 3, "seed": 1, "of": "x"},
        {"k": "3", "seed": 0, "of": "x"},
    ):
        Store(root).cached("clusters", other, compute)
    Store(root).cached("others", {"k": 3, "seed": 0, "of": "x"}, compute)
    assert len(calls) == 5


def test_a_key_may_hold_whatever_json_does(root: Path) -> None:
    key = {"shape": [3, 2], "versions": {"numpy": "2.0"}, "seed": None, "tol": 1e-3}
    for value in (1, 2):
        got = Store(root).cached("partition", key, lambda value=value: {"labels": np.array([value])})
        assert got["labels"].tolist() == [1]


# Keys


@pytest.mark.parametrize(
    ("backbone", "images"),
    [
        (FakeBackbone(fingerprint="fake-2"), IMAGES),
        (FakeBackbone(), ArrayRows("other", N)),
        (FakeBackbone(batch_size=3), IMAGES),
    ],
    ids=["backbone", "images", "shards"],
)
def test_another_key_is_another_entry(root: Path, backbone: FakeBackbone, images: ArrayRows) -> None:
    fill(root)
    Store(root).images(backbone, images, ALL)
    assert sum(backbone.batches) == N
    assert len(entries(root)) == 2
    Store(root).texts(FakeBackbone(), ["a"])
    Store(root).texts(FakeBackbone(fingerprint="fake-2"), ["a"])
    assert len(entries(root)) == 4


def test_a_manifest_tells_people_what_it_is(root: Path) -> None:
    fill(root)
    manifest = json.loads((entries(root)[0] / "manifest.json").read_text())
    assert manifest["about"] == {"backbone": "fake", "first image": "toy/0", "rows": N, "dim": 5}
    assert manifest["key"]["backbone"] == "fake-1"
    assert manifest["complete"] is True
    assert manifest["created"].endswith("+00:00")
    assert [len(digest) for digest in manifest["files"].values()] == [64] * 4


def test_the_time_of_use_is_noted(root: Path) -> None:
    fill(root)
    manifest = entries(root)[0] / "manifest.json"
    os.utime(manifest, (1, 1))
    Store(root).images(FakeBackbone(), IMAGES, ALL)
    assert manifest.stat().st_mtime > 1e9
    os.utime(manifest, (1, 1))
    np.testing.assert_array_equal(
        Store(root).stored(IMAGES.fingerprint, "fake-1", ALL[3:7]), expected(ALL[3:7])
    )
    assert manifest.stat().st_mtime > 1e9
    os.utime(manifest, (1, 1))
    Store(root).note_use(FakeBackbone(), IMAGES, ALL[:2])
    assert manifest.stat().st_mtime > 1e9
    Store(root / "elsewhere").note_use(FakeBackbone(), IMAGES, ALL)
    assert not (root / "elsewhere").exists()


def test_the_use_is_noted_before_the_files_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is not pruned in between."""
    fill(root)
    manifest = entries(root)[0] / "manifest.json"
    os.utime(manifest, (1, 1))
    noted: list[float] = []
    monkeypatch.setattr(
        entry, "sha256", lambda path: (noted.append(manifest.stat().st_mtime), files.sha256(path))[1]
    )
    Store(root).images(FakeBackbone(), IMAGES, ALL)
    assert min(noted) > 1e9


# Damage


def shard_of(root: Path) -> Path:
    return sorted(entries(root)[0].glob("*.npy"))[1]


def flip_a_bit(root: Path) -> None:
    content = bytearray(shard_of(root).read_bytes())
    content[-2] ^= 16
    shard_of(root).write_bytes(content)


def cut(root: Path) -> None:
    os.truncate(shard_of(root), 100)


def remove(root: Path) -> None:
    shard_of(root).unlink()


def swap(root: Path) -> None:
    first, second = sorted(entries(root)[0].glob("*.npy"))[:2]
    first.write_bytes(second.read_bytes())


@pytest.mark.parametrize("damage", [flip_a_bit, cut, remove, swap])
def test_a_damaged_shard_is_named_and_computed_anew(
    root: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    before = fill(root)
    damage(root)
    assert contents(root) != before
    backbone = FakeBackbone()
    np.testing.assert_array_equal(Store(root).images(backbone, IMAGES, ALL), expected())
    assert sum(backbone.batches) == SHARD
    assert contents(root) == before
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(entries(root)[0]) in record.message
    assert "rows-0000000" in record.message


@pytest.mark.parametrize("kind", ["folder", "fifo", "loop", "dangling"])
def test_what_is_no_file_is_damage(stocked: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    rot.replace_by(kind, shard_of(stocked))
    assert main(["--root", str(stocked), "verify"]) == 1
    assert f"damaged: {shard_of(stocked).stem}" in capsys.readouterr().out
    if kind == "folder":
        shard_of(stocked).rmdir()
    np.testing.assert_array_equal(Store(stocked).images(FakeBackbone(), IMAGES, ALL), expected())


def test_an_entry_under_the_name_of_another_is_computed_anew(root: Path) -> None:
    """Its checksums are right, and it is the wrong entry."""
    before = fill(root)
    (mine,) = entries(root)
    Store(root).images(FakeBackbone(), ArrayRows("others", N), ALL[::-1])
    (other,) = set(entries(root)) - {mine}
    shutil.rmtree(mine)
    shutil.copytree(other, mine)
    np.testing.assert_array_equal(Store(root).images(FakeBackbone(), IMAGES, ALL), expected())
    assert before.items() <= contents(root).items()


def test_stored_rows_are_found_by_a_key_that_fits_the_entry_s_name(root: Path) -> None:
    fill(root)
    path = entries(root)[0] / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace(f'"shard_rows": {SHARD}', f'"shard_rows": {SHARD // 2}'))
    assert path.read_text() != text
    with pytest.raises(InputError, match="must have intact embeddings"):
        Store(root).stored(IMAGES.fingerprint, "fake-1", ALL)


def test_an_entry_of_a_newer_version_is_left_alone(stocked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newer = stocked / f"images-{'0' * 16}"
    shutil.copytree(next(stocked.glob("images-*")), newer)
    manifest = json.loads((newer / "manifest.json").read_bytes())
    (newer / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    assert main(["--root", str(stocked), "verify"]) == 0
    assert f"{newer.name:<28} of a newer fused_clip" in capsys.readouterr().out
    assert main(["--root", str(stocked), "prune", "--unused-for", "0"]) == 0
    assert entries(stocked) == [newer]


def test_prune_is_not_misled_by_a_clock_that_was_set_back(stocked: Path) -> None:
    for path in stocked.glob("*/manifest.json"):
        os.utime(path, (2e9, 2e9))
    assert main(["--root", str(stocked), "prune", "--unused-for", "0"]) == 0
    assert not entries(stocked)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"format": 2}', b"\xff\xfe\x00", b"null"])
def test_a_damaged_manifest_is_named_and_all_computed_anew(
    root: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    before = fill(root)
    (entries(root)[0] / "manifest.json").write_bytes(text)
    backbone = FakeBackbone()
    np.testing.assert_array_equal(Store(root).images(backbone, IMAGES, ALL), expected())
    assert sum(backbone.batches) == N
    assert contents(root) == before
    assert "the manifest is damaged" in caplog.text
    assert str(entries(root)[0]) in caplog.text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"rows": "all"', '"rows": "none"'),
        ('"rows": "all"', '"rows": [[]]'),
        ('"backbone": "fake-1"', '"backbone": "fake-2"'),
        ('"shard_rows"', '"shard"'),
        ('"kind": "images"', '"kind": "texts"'),
        ('"rows-000000000"', '"../rows-000000000"'),
        ('"rows-000000000"', '"rows\\u0000"'),
    ],
    ids=range(7),
)
def test_a_manifest_of_another_entry_is_damaged(
    root: Path, old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = fill(root)
    path = entries(root)[0] / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert entry.StoredEntry(path.parent).manifest is None
    np.testing.assert_array_equal(Store(root).images(FakeBackbone(), IMAGES, ALL), expected())
    assert contents(root) == before
    assert "the manifest is damaged" in caplog.text


def test_what_a_manifest_tells_people_decides_nothing(root: Path) -> None:
    fill(root)
    path = entries(root)[0] / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "about": {"dim": 10**30}}))
    found = Store(root).stored(manifest["key"]["images"], manifest["key"]["backbone"], ALL)
    np.testing.assert_array_equal(found, expected())


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_single_bit_changes_what_is_given(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("store")
    fill(root)
    path = data.draw(st.sampled_from(sorted(entries(root)[0].iterdir())), label="file")
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1), label="byte")
    content[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    path.write_bytes(content)
    np.testing.assert_array_equal(Store(root).images(FakeBackbone(), IMAGES, ALL), expected())


def test_damage_to_small_arrays_and_texts_is_found(root: Path) -> None:
    store, calls = Store(root), []

    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"labels": np.arange(9)}

    store.cached("clusters", {"k": 3}, compute)
    flip = next(root.glob("clusters-*/labels.npy"))
    flip.write_bytes(flip.read_bytes()[:-1] + b"\x07")
    np.testing.assert_array_equal(store.cached("clusters", {"k": 3}, compute)["labels"], np.arange(9))
    assert len(calls) == 2
    store.texts(FakeBackbone(), ["a"])
    next(root.glob("texts-*/rows.npy")).unlink()
    np.testing.assert_array_equal(store.texts(FakeBackbone(), ["a"]), FakeBackbone().encode_texts(["a"]))


# Interruptions


def start_process(root: Path, **backbone: object) -> subprocess.Popen[bytes]:
    """Start a process that embeds all images once its standard input is closed."""
    code = f"""
import sys
import numpy as np
from pathlib import Path
from fused_clip.store import blocks, embeddings
from tests.conftest import ArrayRows
from tests.fakes import FakeBackbone
blocks._LEAST_ROWS = {SHARD}
sys.stdin.read()
embeddings.Store({str(root)!r}).images(FakeBackbone(**{backbone!r}), ArrayRows("toy", {N}), np.arange({N}))
"""
    folder = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=folder)


@pytest.mark.slow
@pytest.mark.parametrize("images_done", [0, 16, 40])
def test_a_kill_loses_no_finished_shard_and_changes_no_byte(
    root: Path, tmp_path: Path, images_done: int, caplog: pytest.LogCaptureFixture
) -> None:
    process = start_process(root, die_after=images_done)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    backbone = FakeBackbone()
    np.testing.assert_array_equal(Store(root).images(backbone, IMAGES, ALL), expected())
    finished = images_done // SHARD * SHARD
    assert sum(backbone.batches) == N - finished
    assert contents(root) == fill(tmp_path / "uninterrupted")
    if finished:
        assert f"going on after {finished // SHARD} finished parts" in caplog.text


def test_an_error_midway_keeps_what_was_finished(root: Path) -> None:
    class Failing(FakeBackbone):
        def encode_prepared(self, prepared: list[np.ndarray]) -> np.ndarray:  # type: ignore[override]
            if sum(self.batches) >= 20:
                raise RuntimeError("out of memory")
            return super().encode_prepared(prepared)

    with pytest.raises(RuntimeError, match="out of memory"):
        Store(root).images(Failing(), IMAGES, ALL)
    backbone = FakeBackbone()
    Store(root).images(backbone, IMAGES, ALL)
    assert sum(backbone.batches) == N - SHARD


def test_a_full_disk_is_told_and_leaves_no_damage(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"output_dir: .*No space left on device.*free space") as caught:
            Store(root).images(FakeBackbone(), IMAGES, ALL)
    assert str(root) in str(caught.value)
    assert not list(root.glob("*/*.draft"))
    backbone = FakeBackbone()
    np.testing.assert_array_equal(Store(root).images(backbone, IMAGES, ALL), expected())
    assert sum(backbone.batches) == N - SHARD


@pytest.mark.parametrize(
    ("number", "fails"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)]
)
def test_folders_that_can_not_be_synced_are_none_the_worse(
    tmp_path: Path, number: int, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(InputError) if fails else nullcontext():
        files.write_atomic(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_root_that_cannot_be_made_is_told_before_anything_is_embedded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    backbone = FakeBackbone()
    with pytest.raises(InputError, match="output_dir: must be a writable folder with free space"):
        Store(tmp_path / "file" / "store").images(backbone, IMAGES, ALL)
    assert backbone.batches == []


# Several processes


@pytest.mark.slow
def test_processes_that_want_the_same_compute_it_once(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [start_process(root, log=str(log), seconds=0.05) for _ in range(3)]
    for process in processes:
        assert process.stdin
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0] * 3
    assert len(log.read_text().splitlines()) == N
    assert fill(tmp_path / "alone") == contents(root)


def test_threads_that_want_the_same_compute_it_once(root: Path) -> None:
    backbone = FakeBackbone(seconds=0.01)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: Store(root).images(backbone, IMAGES, ALL), range(4)))
    assert sum(backbone.batches) == N
    for rows in got:
        np.testing.assert_array_equal(rows, expected())


# Speed


def test_opening_a_large_entry_reads_it_about_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root)
    hashed: list[Path] = []
    monkeypatch.setattr(entry, "sha256", lambda path: (hashed.append(path), files.sha256(path))[1])
    Store(root).images(FakeBackbone(), IMAGES, ALL)
    assert len(hashed) == len(set(hashed)) == 4


# The command line


@pytest.fixture
def stocked(root: Path) -> Path:
    """Images, texts and labels; the labels were used long ago."""
    fill(root)
    Store(root).texts(FakeBackbone(), ["a cat"])
    Store(root).cached("partition", {"k": 3}, lambda: {"labels": np.arange(3)})
    os.utime(next(root.glob("partition-*")) / "manifest.json", (1e9, 1e9))
    return root


def test_list_shows_what_is_there(stocked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(stocked), "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert re.search(
        r"images-\w+ +0\.0 MB  20\d\d-.*backbone fake, first image toy/0, rows 50, dim 5", "\n".join(lines)
    )
    assert lines[2].startswith("partition-")
    assert "2001-09-09" in lines[2]
    assert "k 3" in lines[2]
    assert lines[3].startswith("3 entries")


def test_verify_names_what_is_damaged(stocked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(stocked), "verify"]) == 0
    assert capsys.readouterr().out.count("intact") == 3
    flip_a_bit(stocked)
    (next(stocked.glob("texts-*")) / "manifest.json").write_text("{")
    assert main(["--root", str(stocked), "verify"]) == 1
    told = capsys.readouterr().out
    assert "damaged: rows-000000016" in told
    assert "damaged: manifest.json" in told
    assert told.splitlines()[-1].startswith("2 damaged")


def test_verify_calls_nothing_damaged_that_was_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> NoReturn:
        raise InputError("backbone", "refuses this text")

    with pytest.raises(InputError):
        entry.Entry(root, "texts", {"text": "x"}).ensure(None, refuse)
    assert main(["--root", str(root), "verify"]) == 0
    told = capsys.readouterr().out
    assert re.fullmatch(r"texts-\w+ +unfinished\n", told)
    assert main(["--root", str(root), "list"]) == 0


@pytest.mark.parametrize("refused", ["manifest.json", "rows-000000016.npy", ""])
def test_what_may_not_be_read_is_not_called_damaged(
    stocked: Path, refused: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = next(stocked.glob("images-*")) / refused
    before = contents(stocked)
    for name in ("open", "iterdir"):
        allowed = getattr(Path, name)

        def denied(path: Path, *args: Any, allowed: Any = allowed, **options: Any) -> Any:
            if place in (path, path.parent):
                raise PermissionError(13, "Permission denied", str(path))
            return allowed(path, *args, **options)

        monkeypatch.setattr(Path, name, denied)
    opened = os.open

    def denied_open(path: Any, *args: Any, **options: Any) -> int:
        if place in (Path(path), Path(path).parent):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", denied_open)
    assert main(["--root", str(stocked), "verify"]) == 1
    told = capsys.readouterr().out
    assert re.search(r"images-\w+ +can't be read: Permission denied", told)
    assert "damaged" not in told
    assert told.splitlines()[-1].startswith("1 can't be read, and may be intact")
    assert main(["--root", str(stocked), "list"]) == int(not refused.startswith("rows"))
    if not refused.startswith("rows"):
        assert main(["--root", str(stocked), "prune", "--unused-for", "0"]) == 1
        assert re.search(
            r"images-\w+ +can't be read or removed \(Permission denied\): kept", capsys.readouterr().out
        )
        monkeypatch.undo()
        assert contents(stocked) == {name: before[name] for name in before if name.startswith("images-")}


def test_the_command_has_a_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("fused_clip ")


def test_prune_removes_what_was_not_used(stocked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(stocked), "prune", "--dry-run"]) == 0
    assert len(entries(stocked)) == 3
    assert re.search(r"partition-\w+ +would be removed", capsys.readouterr().out)
    assert main(["--root", str(stocked), "prune"]) == 0
    assert [path.name.split("-")[0] for path in entries(stocked)] == ["images", "texts"]
    assert main(["--root", str(stocked), "prune", "--unused-for", "0"]) == 0
    assert entries(stocked) == []
    np.testing.assert_array_equal(Store(stocked).images(FakeBackbone(), IMAGES, ALL), expected())


def test_prune_keeps_what_is_being_written(stocked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = next(stocked.glob("images-*"))
    with entry.StoredEntry(images).locked():
        assert main(["--root", str(stocked), "prune", "--unused-for", "0"]) == 0
    assert entries(stocked) == [images]
    assert "is being written: kept" in capsys.readouterr().out


def test_prune_keeps_what_is_used_meanwhile(stocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = entry.StoredEntry.locked

    def used_before(self: entry.StoredEntry, *, wait: bool) -> AbstractContextManager[bool]:
        self.note_use()
        return locked(self, wait=wait)

    monkeypatch.setattr(entry.StoredEntry, "locked", used_before)
    before = contents(stocked)
    assert main(["--root", str(stocked), "prune"]) == 0
    assert contents(stocked) == before


@pytest.mark.parametrize("name", ["runs", "sweep-2026", "images-0123456789abcdef", "mlartifacts"])
def test_prune_removes_nothing_but_entries(
    stocked: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (stocked / name / "figures").mkdir(parents=True)
    for theirs in ("notes.txt", name + "/metrics.json", name + "/figures/tsne.png"):
        (stocked / theirs).write_text("theirs")
    linked = stocked / "texts-0123456789abcdef"
    linked.symlink_to(next(stocked.glob("texts-*")))
    assert main(["--root", str(stocked), "prune", "--unused-for", "0"]) == 0
    assert sorted(path.name for path in stocked.iterdir()) == sorted(
        [".locks", "notes.txt", name, linked.name]
    )
    assert len(list((stocked / name).iterdir())) == 2
    assert name not in capsys.readouterr().out


def test_prune_removes_what_a_kill_left(stocked: Path) -> None:
    images = next(stocked.glob("images-*"))
    for name in ("manifest.json", "rows-000000000.npy"):
        (images / name).rename(files.draft_of(images / name))
    (images / "rows-000000016.npy").rename(
        images / "rows-000000016.npy.draft"
    )  # as earlier versions named it
    assert main(["--root", str(stocked), "prune"]) == 0
    assert not images.exists()


def test_prune_removes_drafts_of_killed_writers_alone(
    stocked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = next(stocked.glob("images-*"))
    dead, alive = draft_of_a_killed_process(images / "rows-1.npy"), files.draft_of(images / "rows-2.npy")
    of_another_machine = images / f"rows-3.npy.00000000{dead.name[len('rows-1.npy.') + 8 :]}"
    for draft in (dead, alive, of_another_machine):
        draft.write_bytes(bytes(10))
    assert main(["--root", str(stocked), "prune", "--dry-run"]) == 0
    assert f"would lose {dead.name}" in capsys.readouterr().out
    assert dead.exists()
    assert main(["--root", str(stocked), "prune"]) == 0
    assert (dead.exists(), alive.exists(), of_another_machine.exists()) == (False, True, True)
    os.utime(of_another_machine, times=(0, time.time() - 2 * 86_400))
    assert main(["--root", str(stocked), "prune"]) == 0
    assert not of_another_machine.exists()
    assert main(["--root", str(stocked), "verify"]) == 0


def test_going_on_removes_drafts_of_a_killed_writer(root: Path) -> None:
    store = Store(root)
    store.images(FakeBackbone(), IMAGES, ALL)
    (images,) = entries(root)
    draft_of_a_killed_process(images / "rows-000000016.npy").write_bytes(b"half")
    (images / "rows-000000016.npy").unlink()
    np.testing.assert_array_equal(Store(root).images(FakeBackbone(), IMAGES, ALL), expected())
    assert not list(images.glob("*.draft"))


@pytest.mark.parametrize(
    ("place", "arguments", "message"),
    [
        ("gone", ["list"], "root: must be a folder: there is no store"),
        ("out/store", ["prune", "--unused-for", "-1"], "must be at least 0, got -1"),
        ("out/store", ["prune", "--unused-for", "nan"], "must be at least 0, got nan"),
    ],
)
def test_what_makes_no_sense_is_refused(
    stocked: Path, place: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(stocked)
    with pytest.raises(SystemExit) as end:
        main(["--root", str(stocked.parents[1] / place), *arguments])
    assert message in f"{end.value.code} {capsys.readouterr().err}"
    assert contents(stocked) == before


def test_the_command_line_starts_without_torch(stocked: Path) -> None:
    code = f"import sys; sys.argv = ['x', '--root', {str(stocked)!r}, 'list']\n"
    code += "import runpy\ntry: runpy.run_module('fused_clip.store', run_name='__main__')\n"
    code += "except SystemExit as end: assert end.code == 0 and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


# Vectors that came with the data, and what is there already


def test_vectors_are_given_as_they_are_and_leave_no_trace(root: Path) -> None:
    vectors = Vectors(np.arange(12, dtype=np.float32).reshape(4, 3), tuple("abcd"))
    store, backbone = Store(root), FakeBackbone()
    np.testing.assert_array_equal(store.images(backbone, vectors, np.array([2, 0])), vectors.vectors[[2, 0]])
    assert store.missing(backbone, vectors, np.array([2, 0])) == {}
    store.note_use(backbone, vectors, np.array([2, 0]))
    store.note_use(backbone, IMAGES, np.array([], dtype=int))
    assert not root.exists()


def test_what_a_run_will_write_is_known_before(root: Path) -> None:
    store, backbone = Store(root), FakeBackbone()
    some, other = np.array([3, 1]), np.array([4, 5, 6])
    assert store.missing(backbone, IMAGES, np.array([], dtype=int)) == {}
    (few,) = store.missing(backbone, IMAGES, some).items()
    (whole,) = store.missing(backbone, IMAGES, ALL).items()
    assert (few[1], whole[1]) == (2 * 4 * backbone.dim, N * 4 * backbone.dim)
    assert store.missing(backbone, IMAGES, some, planned={few[0]}) == {}
    assert store.missing(backbone, IMAGES, some, planned={whole[0]}) == {}, "the parent has these rows"
    assert store.missing(backbone, IMAGES, other, planned={few[0]}) != {}
    store.images(backbone, IMAGES, some)
    assert [path.name for path in entries(root)] == [few[0]]
    assert store.missing(backbone, IMAGES, some) == {}
    assert store.missing(backbone, IMAGES, ALL) == dict([whole])
    store.images(backbone, IMAGES, ALL)
    assert store.missing(backbone, IMAGES, other) == {}


def test_stored_rows_are_found_by_their_keys_in_any_order(root: Path) -> None:
    store, backbone = Store(root), FakeBackbone()
    some = np.array([7, 3, 9, 3])
    store.images(backbone, ArrayRows("other", N), ALL)
    store.images(FakeBackbone(fingerprint="fake-2"), IMAGES, ALL)
    with pytest.raises(InputError, match=r"store: must have intact embeddings of these rows \(images toy-50"):
        store.stored(IMAGES.fingerprint, backbone.fingerprint, some)
    store.images(backbone, IMAGES, some)
    np.testing.assert_array_equal(
        store.stored(IMAGES.fingerprint, backbone.fingerprint, some[::-1]), expected(some[::-1])
    )
    with pytest.raises(InputError, match="store"):
        store.stored(IMAGES.fingerprint, backbone.fingerprint, np.array([3, 8]))
    store.images(backbone, IMAGES, ALL)
    np.testing.assert_array_equal(
        store.stored(IMAGES.fingerprint, backbone.fingerprint, np.array([8, 3])), expected(np.array([8, 3]))
    )


def test_list_adds_the_sizes_up(
    stocked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fused_clip.store.__main__._megabytes", lambda entry: 1.5)
    assert main(["--root", str(stocked), "list"]) == 0
    assert "3 entries, 4.5 MB; " in capsys.readouterr().out


def test_prune_adds_up_what_it_frees(
    stocked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fused_clip.store.__main__._remove", lambda entry, seconds, *, dry_run: 1.5)
    assert main(["--root", str(stocked), "prune"]) == 0
    assert capsys.readouterr().out == "4.5 MB freed\n"


def test_sizes_are_in_millions_of_bytes(tmp_path: Path) -> None:
    from fused_clip.store.__main__ import _megabytes

    (tmp_path / "one").write_bytes(bytes(1_500_000))
    (tmp_path / "two").write_bytes(bytes(500_000))
    assert _megabytes(entry.StoredEntry(tmp_path)) == 2.0
