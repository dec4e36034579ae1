"""Shards: every block is written once, whatever stops, and only by equal encoders."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.store import blocks
from fused_clip.store.blocks import RowBlocks
from fused_clip.store.shard import Shard
from fused_clip.store.shard_list import Encoder
from fused_clip.store.shards import ShardedEntry
from fused_clip.support.errors import InputError
from tests.fakes import FakeBackbone
from tests.store.sharded import SIZE, N, Source, sharded_entry, write_all


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_LEAST_ROWS", SIZE)


@given(st.integers(1, 200), st.integers(0, 500))
def test_shards_share_everything_once(of: int, count: int) -> None:
    shares = [Shard(number, of).share(count) for number in range(1, of + 1)]
    assert [place for share in shares for place in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.integers(1, 90), st.lists(st.integers(1, 300), min_size=1, max_size=4))
def test_each_block_of_several_sequences_is_of_one_shard(of: int, lengths: list[int]) -> None:
    cut = [RowBlocks(rows, 7) for rows in lengths]
    among, before = sum(map(len, cut)), 0
    for one in cut:
        entry = ShardedEntry(Path("nowhere"), "", one, FakeBackbone(), before, among)
        for number in range(1, of + 1):
            assert all(
                entry.shard_of(start, of) == Shard(number, of) for start in entry.starts(Shard(number, of))
            )
        found = [start for number in range(1, of + 1) for start in entry.starts(Shard(number, of))]
        assert found == list(one.starts)
        before += len(one)


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "1/0", "-1/4", "1/4/4", "1/100000", "a/b", "", " 1/4"])
def test_a_shard_must_be_one_of_its_number(text: str) -> None:
    with pytest.raises(InputError, match=r"^shard: must be a shard and their number, .* got '"):
        Shard.parse(text)


@given(st.integers(1, 10**10), st.integers(1, 1000))
def test_an_entry_has_at_most_twenty_thousand_blocks_of_whole_batches(rows: int, batch: int) -> None:
    cut = RowBlocks.of(rows, batch)
    assert len(cut) <= 20_000
    assert cut.size % batch == 0
    assert cut.size >= SIZE


def test_what_is_written_is_not_computed_again(tmp_path: Path) -> None:
    entry, source = sharded_entry(tmp_path), Source()
    write_all(entry, source, 3)
    assert source.asked == list(range(0, N, SIZE))
    write_all(sharded_entry(tmp_path), source, 3)
    assert len(source.asked) == len(set(source.asked))


def test_a_shard_goes_on_after_its_last_block(tmp_path: Path) -> None:
    entry, source = sharded_entry(tmp_path), Source(fails_at=3 * SIZE)
    with pytest.raises(ZeroDivisionError):
        write_all(entry, source, 1)
    source.fails_at = None
    write_all(entry, source, 1)
    assert source.asked == [*range(0, 4 * SIZE, SIZE), *range(3 * SIZE, N, SIZE)]


@pytest.mark.parametrize("name", [RowBlocks.name(SIZE), RowBlocks.digest_name(SIZE)])
def test_a_damaged_block_is_written_anew(tmp_path: Path, name: str) -> None:
    entry = sharded_entry(tmp_path)
    write_all(entry, Source(), 2)
    whole = entry.path(name).read_bytes()
    entry.path(name).write_bytes(whole[:-1] + b"?")
    source = Source()
    write_all(entry, source, 2)
    assert source.asked == [SIZE]
    assert entry.path(name).read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"{}", b'{"number": 1}', b"\xff"])
def test_a_damaged_list_is_reported_and_its_shard_written_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    entry = sharded_entry(tmp_path)
    write_all(entry, Source(), 2)
    (entry.folder / Shard(1, 2).file).write_bytes(content)
    assert [part.shard for part in entry.parts()] == [Shard(2, 2)]
    assert "shard-00001-of-00002.json is damaged" in caplog.text
    source = Source()
    write_all(entry, source, 2)
    assert source.asked == list(entry.starts(Shard(1, 2)))
    assert len(entry.parts()) == 2


def test_a_list_of_another_shard_is_not_taken_for_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = sharded_entry(tmp_path)
    write_all(entry, Source(), 2)
    (entry.folder / Shard(2, 2).file).write_bytes((entry.folder / Shard(1, 2).file).read_bytes())
    assert [part.number for part in entry.parts()] == [1]


class OtherBackbone(FakeBackbone):
    libraries = ("scipy",)


def test_another_encoder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_all(sharded_entry(tmp_path), Source(), 2)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for other in (FakeBackbone(fingerprint="fake-2"), OtherBackbone()):
        source = Source()
        with pytest.raises(
            InputError, match=r"backbone: must be the encoder of the shards in the store; .*Remove"
        ):
            write_all(sharded_entry(tmp_path, other), source, 2)
        assert source.asked == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_difference_names_libraries_or_fingerprints() -> None:
    one = Encoder(fingerprint="a" * 64, versions={"torch": "2.8", "numpy": "2"})
    assert one.difference(one) == ""
    assert (
        one.difference(Encoder(fingerprint="b", versions={"torch": "2.9"}))
        == "numpy 2 and none, torch 2.8 and 2.9"
    )
    assert one.difference(Encoder(fingerprint="b" * 64, versions=one.versions)) == (
        f"fingerprints {'a' * 12} and {'b' * 12}"
    )


def test_another_number_of_shards_is_refused(tmp_path: Path) -> None:
    entry = sharded_entry(tmp_path)
    write_all(entry, Source(), 2)
    entry.check(2)
    with pytest.raises(
        InputError, match="shards: the store has shards of 2, so their number must be that, got 3"
    ):
        entry.check(3)


def test_an_empty_shard_writes_nothing(tmp_path: Path) -> None:
    entry = sharded_entry(tmp_path)
    assert not entry.starts(Shard(1, 50))
    entry.write(Shard(1, 50), entry.starts(Shard(1, 50)), _never)
    assert not entry.folder.exists()


def _never(starts: Sequence[int]) -> Iterator[Any]:
    raise AssertionError(starts)


def test_lists_are_sealed(tmp_path: Path) -> None:
    entry = sharded_entry(tmp_path)
    write_all(entry, Source(), 1)
    file = entry.folder / Shard(1, 1).file
    content = json.loads(file.read_text())
    content["files"][RowBlocks.name(0)] = "0" * 64
    file.write_text(json.dumps(content))
    assert entry.parts() == []


def test_rows_are_those_of_the_backbone(tmp_path: Path) -> None:
    entry = sharded_entry(tmp_path)
    write_all(entry, Source(), 3)
    rows = np.concatenate([entry.load(RowBlocks.name(start)) for start in entry.blocks.starts])
    np.testing.assert_array_equal(rows, Source().rows(range(N)))
