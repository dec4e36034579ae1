from fused_clip.report.studies.measurements import Gain
from fused_clip.report.studies.pairs import Comparison
from fused_clip.report.studies.significance import Estimate
from fused_clip.report.studies.tallies import corrected_tallies, tally, uncorrected_tally


def comparison(mean: float, corrected: float, margin: float) -> Comparison:
    return Comparison(
        "set", "first", "second", estimate=Estimate(mean, 0.01), margin=margin, run_ids=("run",), rows=1,
        whole=True, corrected=corrected, corrected_equivalence=0.9,
    )  # fmt: skip


TESTS = [comparison(0.03, 0.2, 0.01), comparison(-0.05, 0.001, 0.02), comparison(0.0, 1.0, 0.03)]


def test_counts_are_all_corrected_or_all_not() -> None:
    ends = "equal within ±.0100 to .0300"
    assert tally(TESTS, 3, correct=False) == f"better in 1, worse in 1, {ends} in 1 of 3 datasets"
    assert tally(TESTS, 3, correct=True) == f"better in 0, worse in 1, {ends} in 0 of 3 datasets"


def test_the_range_and_what_is_missing_are_named() -> None:
    words = uncorrected_tally(TESTS, 4)
    assert words.startswith("-.0500 to +.0300; better in 1, worse in 1,")
    assert words.endswith("in 1 of 4 datasets (1 not measured in full)")


def test_gains_have_no_margin() -> None:
    gains = [Gain(True, ("run",), estimate=Estimate(0.03, 0.01), corrected=0.2)]
    assert corrected_tallies(1, gains, gains) == (
        "Better in 0, worse in 0 of 1 datasets. Paired by zero-shot: better in 0, worse in 0 of 1 datasets."
    )
