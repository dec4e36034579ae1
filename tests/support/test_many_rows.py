import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.support.many_rows import EXACT_ROWS, inverse, row_blocks


@given(st.integers(1, 500), st.integers(1, 120))
def test_blocks_have_each_row_once_and_are_no_longer_than_asked(count: int, size: int) -> None:
    rows = np.arange(count)
    blocks = [rows[block] for block in row_blocks(count, size)]
    np.testing.assert_array_equal(np.concatenate(blocks), rows)
    assert max(map(len, blocks)) <= size
    assert len(blocks) == -(-count // size)


def test_rows_that_are_computed_exactly_are_one_block() -> None:
    assert list(row_blocks(EXACT_ROWS)) == [slice(0, EXACT_ROWS)]
    assert len(list(row_blocks(EXACT_ROWS + 1))) == 2
    assert list(row_blocks(0)) == [slice(0, 0)]


@given(st.permutations(range(20)))
def test_an_inverse_undoes_a_permutation(numbers: list[int]) -> None:
    order = np.array(numbers)
    np.testing.assert_array_equal(inverse(order)[order], np.arange(20))
    np.testing.assert_array_equal(order[inverse(order)], np.arange(20))
