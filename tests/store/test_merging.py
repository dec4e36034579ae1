"""Merging: the bytes of one machine, or a refusal that names what does not fit."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from fused_clip.store import Store, blocks, entry, merging
from fused_clip.store.__main__ import main
from fused_clip.store.blocks import RowBlocks
from fused_clip.store.merging import merge
from fused_clip.store.shard import Shard
from fused_clip.store.shard_list import Encoder, Part
from fused_clip.store.shards import ShardedEntry
from fused_clip.support.checksums import sealed
from fused_clip.support.errors import InputError
from tests.fakes import FakeBackbone
from tests.store.sharded import SIZE, N, Source, sharded_entry, write_all


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_LEAST_ROWS", SIZE)


def files(folder: Path) -> dict[str, Any]:
    """Every file of an entry, the manifest without its time."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.iterdir()}
    found["manifest.json"] = {**json.loads(found["manifest.json"]), "created": ""}
    return found


def one_machine(root: Path) -> Path:
    Store(root / "store").images(FakeBackbone(), Source(), np.arange(N))
    return next((root / "store").glob("images-*"))


@pytest.mark.parametrize("of", [1, 2, 3, 10])
def test_shards_give_the_bytes_of_one_machine(tmp_path: Path, of: int) -> None:
    sharded = sharded_entry(tmp_path / "many")
    write_all(sharded, Source(), of)
    merged = merge(sharded, "image 0").folder
    alone = one_machine(tmp_path / "one")
    assert merged.name == alone.name
    assert files(merged) == files(alone)
    assert not sharded.folder.exists()


def test_a_run_takes_merged_rows_without_embedding(tmp_path: Path) -> None:
    sharded = sharded_entry(tmp_path)
    write_all(sharded, Source(), 2)
    merge(sharded, "image 0")
    store = Store(tmp_path / "store")
    np.testing.assert_array_equal(
        store.images(FakeBackbone(), Source(), np.arange(N)), Source().rows(range(N))
    )
    assert store.embedded_images == 0
    assert main(["--root", str(store.root), "verify"]) == 0


def test_merging_twice_changes_nothing_and_shards_stay_finished(tmp_path: Path) -> None:
    sharded = sharded_entry(tmp_path)
    write_all(sharded, Source(), 2)
    first = files(merge(sharded, "image 0").folder)
    again = merge(sharded_entry(tmp_path), "image 0")
    assert files(again.folder) == first
    assert sharded_entry(tmp_path).merged() is not None


def test_a_merge_replaces_what_one_machine_did_not_finish(tmp_path: Path) -> None:
    sharded = sharded_entry(tmp_path)
    write_all(sharded, Source(), 2)
    alone = one_machine(tmp_path)
    manifest = json.loads((alone / "manifest.json").read_text())
    (alone / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    assert merge(sharded, "image 0").folder == alone
    assert entry.StoredEntry(alone).is_complete()


@pytest.mark.parametrize("place", ["adopt", "_tidy"])
def test_an_interrupted_merge_goes_on(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sharded = sharded_entry(tmp_path)
    write_all(sharded, Source(), 2)
    owner = merging if place == "_tidy" else entry.Entry
    with monkeypatch.context() as patched:
        patched.setattr(owner, place, _interrupt)
        with pytest.raises(KeyboardInterrupt):
            merge(sharded, "image 0")
    merged = merge(sharded_entry(tmp_path), "image 0").folder
    assert files(merged) == files(one_machine(tmp_path / "one"))


def test_two_merges_at_once_give_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all(sharded_entry(tmp_path), Source(), 2)
    check = merging._check_files
    first, second = Event(), Event()

    def slow_check(*arguments: Any) -> None:
        if not first.is_set():
            first.set()
            second.wait(0.5)
        check(*arguments)

    monkeypatch.setattr(merging, "_check_files", slow_check)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(merge, sharded_entry(tmp_path), "image 0")
        assert first.wait(10)
        fast = merge(sharded_entry(tmp_path), "image 0")
        second.set()
        assert slow.result().folder == fast.folder
    assert files(fast.folder) == files(one_machine(tmp_path / "one"))


def test_a_shard_that_others_finished_and_merged_is_not_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the lock of its shard, or has read the list of a folder that is renamed now."""
    write_all(sharded_entry(tmp_path), Source(), 2)
    late, source = sharded_entry(tmp_path), Source()

    def merge_first(*arguments: object) -> dict[str, str]:
        merge(sharded_entry(tmp_path), "image 0")
        return {}

    monkeypatch.setattr(late, "_intact", merge_first)
    late.write(Shard(1, 2), late.starts(Shard(1, 2)), source.compute)
    assert source.asked == []
    assert not late.folder.exists()


def _interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_gaps_are_named_with_their_shards(tmp_path: Path) -> None:
    sharded, source = sharded_entry(tmp_path), Source()
    for number in (1, 3):
        sharded.write(Shard(number, 4), sharded.starts(Shard(number, 4)), source.compute)
    with pytest.raises(InputError, match=r"shards: 43 of 75 rows are missing, of shards 2/4; 4/4\. The same"):
        merge(sharded, "image 0")
    with pytest.raises(InputError, match=r"shards: 75 of 75 rows are missing\. The same"):
        merge(sharded_entry(tmp_path / "empty"), "image 0")


def relist(sharded: ShardedEntry, shard: Shard, to: Shard, **changes: Any) -> None:
    """Write the list of a shard again, changed or as that of another."""
    part = next(part for part in sharded.parts() if part.shard == shard)
    made = part.model_copy(update={"number": to.number, "of": to.of, **changes})
    (sharded.folder / to.file).write_text(json.dumps(sealed(made.model_dump())))


def test_overlaps_are_named(tmp_path: Path) -> None:
    sharded = sharded_entry(tmp_path)
    write_all(sharded, Source(), 2)
    both = {name: digest for part in sharded.parts() for name, digest in part.files.items()}
    relist(sharded, Shard(2, 2), Shard(2, 2), files=both)
    with pytest.raises(
        InputError, match=r"shards: overlap: rows 0 to 7 in shards 1/2 and 2/2; .*Remove the list"
    ):
        merge(sharded, "image 0")


MIXED: dict[str, Callable[[Part], dict[str, Any]]] = {
    "fingerprints fake-1 and fake-2": lambda part: {
        "encoder": Encoder(fingerprint="fake-2", versions=part.encoder.versions)
    },
    "numpy .* and 1.0": lambda part: {
        "encoder": Encoder(fingerprint="fake-1", versions={**part.encoder.versions, "numpy": "1.0"})
    },
}


@pytest.mark.parametrize("message", MIXED)
def test_mixed_encoders_and_versions_are_named(tmp_path: Path, message: str) -> None:
    sharded = sharded_entry(tmp_path)
    write_all(sharded, Source(), 2)
    relist(sharded, Shard(2, 2), Shard(2, 2), **MIXED[message](sharded.parts()[1]))
    rule = f"shards: 1/2 and 2/2 are of different encoders or versions: {message}"
    with pytest.raises(InputError, match=rule):
        merge(sharded, "image 0")


def test_shards_of_two_numbers_are_named(tmp_path: Path) -> None:
    sharded = sharded_entry(tmp_path)
    write_all(sharded, Source(), 2)
    relist(sharded, Shard(2, 2), Shard(3, 3))
    with pytest.raises(InputError, match="shards: must all be of one number; there are shards of 2 and of 3"):
        merge(sharded, "image 0")


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", [RowBlocks.name(SIZE), RowBlocks.digest_name(SIZE)])
def test_damaged_files_are_named_and_mended(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    sharded = sharded_entry(tmp_path)
    write_all(sharded, Source(), 2)
    damage(sharded.path(name))
    with pytest.raises(InputError, match=rf"shards: are damaged: {name}\.npy of shard 1/2"):
        merge(sharded, "image 0")
    write_all(sharded, Source(), 2)
    assert files(merge(sharded, "image 0").folder) == files(one_machine(tmp_path / "one"))


def test_shards_are_listed_and_kept_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sharded = sharded_entry(tmp_path)
    sharded.write(Shard(1, 2), sharded.starts(Shard(1, 2)), Source().compute)
    root = ["--root", str(sharded.root)]
    assert main([*root, "list"]) == 0
    assert "unfinished: backbone fake, rows 75" in capsys.readouterr().out
    assert main([*root, "prune"]) == 0
    assert len(sharded.parts()) == 1


def test_a_pruned_entry_is_no_longer_merged(tmp_path: Path) -> None:
    sharded = sharded_entry(tmp_path)
    write_all(sharded, Source(), 2)
    shutil.rmtree(merge(sharded, "image 0").folder)
    assert sharded.merged() is None
