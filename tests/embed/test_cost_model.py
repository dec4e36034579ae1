"""The cost model: its sums against plain arithmetic, and what may not happen whatever the numbers."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.embed.cost_model import Rates, cost
from fused_clip.store.blocks import RowBlocks
from fused_clip.store.shard import MOST_SHARDS

RATES = Rates(start=8.0, images=100.0, hashed=1e9, block=1e-4, width=512, batch_size=64, listed=60.0)
IMAGES = st.integers(1, 10**9)
WORKERS = st.integers(1, 2_000)
SHARDS = st.integers(1, 5_000)


@given(IMAGES, SHARDS)
def test_one_worker_takes_the_sum_of_all_shards(images: int, shards: int) -> None:
    found = cost(RATES, images, 1, shards)
    assert found.embedding == pytest.approx(found.shards * 8.0 + images / 100)
    assert found.shards == min(shards, len(RowBlocks.of(images, 64)))


@given(IMAGES, WORKERS, SHARDS)
def test_workers_share_the_time_but_for_one_shard(images: int, workers: int, shards: int) -> None:
    found = cost(RATES, images, workers, shards)
    whole = found.shards * 8.0 + images / 100
    longest = 8.0 + math.ceil(found.blocks / found.shards) * RowBlocks.of(images, 64).size / 100
    assert whole / workers - 1e-6 <= found.embedding <= whole / workers + longest + 1e-6


@given(IMAGES, WORKERS)
def test_the_chosen_shards_keep_every_worker_busy_for_an_hour_at_most(images: int, workers: int) -> None:
    found = cost(RATES, images, workers)
    assert found.shards == min(found.blocks, found.shards)
    if workers <= found.shards < min(MOST_SHARDS, found.blocks):
        assert found.shards % workers == 0
        assert images / found.shards / 100 <= 3_600 + RowBlocks.of(images, 64).size / 100


@given(IMAGES)
def test_bytes_are_those_of_the_files(images: int) -> None:
    found = cost(RATES, images, 1, 1)
    assert found.stored == images * 2048 + found.blocks * 128
    assert found.meanwhile == pytest.approx(images * 92 + found.blocks * 128, abs=1)
    assert found.merging == pytest.approx(
        (found.stored + images * 32 + found.blocks * 128) / 1e9 + found.blocks / 1e4
    )
    assert found.manifest <= 2_000_000


def test_a_faster_start_counts_once_a_shard() -> None:
    faster = dataclasses.replace(RATES, start=3.0)
    assert cost(RATES, 10**6, 1, 20).embedding - cost(faster, 10**6, 1, 20).embedding == pytest.approx(100)
