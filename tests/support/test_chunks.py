import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.support.chunks import batched


@given(st.lists(st.integers()), st.integers(1, 7))
def test_lists_are_all_items_in_order(items: list[int], size: int) -> None:
    parts = list(batched(items, size))
    assert [item for part in parts for item in part] == items
    assert all(len(part) == size for part in parts[:-1])
    assert all(parts)


def test_no_more_than_one_list_is_read() -> None:
    source = iter(range(10))
    next(batched(source, 3))
    assert next(source) == 3


def test_nothing_gives_nothing() -> None:
    with pytest.raises(StopIteration):
        next(batched([], 3))
