"""Checks that any option of a group must pass: for a package of options, and for this package's own.

A test of a plugin is::

    import pytest
    from fused_clip.testing import check_option, options_of

    @pytest.mark.parametrize("option", options_of("my-options"))
    def test_an_option_meets_the_contract_of_its_group(option):
        check_option(option)
"""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from fused_clip.testing.chosen import Chosen, ContractError, choosing, options_of
from fused_clip.testing.classifiers import check_classifier
from fused_clip.testing.contracts import check_contract
from fused_clip.testing.parts_of_rows import check_clusterer, check_fusion, check_pairing, check_text
from fused_clip.testing.prompts import check_prompt
from fused_clip.testing.reference_runs import check_reference
from fused_clip.testing.sources_of_images import check_backbone, check_dataset

__all__ = ["ContractError", "check_option", "options_of"]

_BEHAVIOUR: MappingProxyType[str, Callable[[Chosen], None]] = MappingProxyType(
    {
        "dataset": check_dataset,
        "backbone": check_backbone,
        "prompt": check_prompt,
        "text": check_text,
        "pairing": check_pairing,
        "fusion": check_fusion,
        "clusterer": check_clusterer,
        "classifier": check_classifier,
        "reference": check_reference,
    }
)


def check_option(option: str, *overrides: str, config_dir: str | Path | None = None) -> None:
    """Check that an option meets the contract of its group: its YAML, then what it does with small data.

    Options of ``experiment``, ``method``, ``report``, ``tracking`` and Hydra's own groups are composed alone.

    Parameters
    ----------
    option : group and name, as on the command line: ``clusterer=birch``.
    overrides : further words of the command line, for an option that needs some: ``prompt.file=texts.json``.
    config_dir : folder of config groups of your own, as ``--config-dir``.

    Raises
    ------
    ContractError
        With the option and the rule that it breaks.
    InputError
        If the option does not compose, or refuses what it is given.
    unittest.SkipTest
        If the option needs files or weights that are not there: pytest and unittest report the reason. Its
        YAML has been checked.
    """
    with choosing(option, overrides, config_dir) as chosen:
        check_contract(chosen)
        if chosen.group in _BEHAVIOUR:
            _BEHAVIOUR[chosen.group](chosen)
