import math

import pytest

from fused_clip.report import Table, TableCell


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_is_a_number_or_none(value: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        TableCell("x", value)


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="'caption' must have 2 cells"):
        Table("caption", ["a", "b"], [[TableCell("1")]])


def test_a_column_with_a_value_is_one_of_numbers() -> None:
    table = Table(
        "",
        ["a", "b", "c"],
        [
            [TableCell("x"), TableCell("-"), TableCell("1")],
            [TableCell("y"), TableCell("2", 2), TableCell("-")],
        ],
    )
    assert table.numeric == {1}
