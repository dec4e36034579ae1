"""Each option of this package meets the contract of its group."""

import pytest

from fused_clip.testing import check_option, options_of


@pytest.mark.parametrize("option", options_of("my-options"))
def test_an_option_meets_the_contract_of_its_group(option: str) -> None:
    """Its YAML is right, and it does with small data what its group promises."""
    check_option(option)
