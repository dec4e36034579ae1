"""Whether mutants are what they should be, and reach those that have imported what is changed."""

import ast
import re
from collections import Counter

import numpy as np
import pytest

from fused_clip.method.fusion import LinearFusion, l2_normalized

mutations = pytest.importorskip("experiments.mutants.mutations", reason="mutmut is not installed")

from experiments.mutants.__main__ import explained  # noqa: E402
from experiments.mutants.trials import ROOT, change, forked  # noqa: E402

FUSION = "fused_clip/method/fusion.py"


def planted(changes: dict[str, str]) -> None:
    code = (ROOT / FUSION).read_text("utf-8")
    for before, after in changes.items():
        assert code.count(before) == 1
        code = code.replace(before, after)
    change(FUSION, code)


def test_mutants_are_code_that_differs_in_one_place() -> None:
    code = (ROOT / FUSION).read_text("utf-8")
    found = mutations.mutants_of(FUSION)
    assert len({mutant.key for mutant in found}) == len(found)
    for mutant in found[::10]:
        assert mutant.source != code
        ast.parse(mutant.source)
        assert mutant.lines[0] <= mutant.lines[1]
    changes = {(mutant.before, mutant.after) for mutant in found}
    assert ("norms == 0", "norms != 0") in changes
    assert not [before for before, _ in changes if "must be between" in before], "messages stay"


def test_a_sample_is_the_same_for_the_same_seed_and_goes_by_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [FUSION, "fused_clip/method/votes.py", "fused_clip/metrics/numbers.py"]
    monkeypatch.setattr(mutations, "modules", lambda: paths)
    drawn = [mutant.key for mutant in mutations.sample(40, seed=1)]
    assert drawn == [mutant.key for mutant in mutations.sample(40, seed=1)]
    assert drawn != [mutant.key for mutant in mutations.sample(40, seed=2)]
    lines = {path: (ROOT / path).read_text("utf-8").count("\n") for path in paths}
    for path, count in Counter(key[0] for key in drawn).items():
        assert count == pytest.approx(40 * lines[path] / sum(lines.values()), abs=1)


def test_a_change_reaches_those_that_have_imported_a_function() -> None:
    rows = np.array([[3.0, 4]])

    def after() -> list[list[float]]:
        planted({"np.where(norms == 0, 1, norms)": "np.where(norms == 0, 1, 2 * norms)"})
        return l2_normalized(rows).tolist()

    found, _ = forked(after, 60)
    np.testing.assert_allclose(found, [[0.3, 0.4]])
    np.testing.assert_allclose(l2_normalized(rows), [[0.6, 0.8]])


def test_a_change_reaches_methods_properties_and_defaults() -> None:
    def after() -> list[object]:
        planted(
            {
                "return self.image_weight == 0": "return self.image_weight != 0",
                "fused = images if texts is None": "fused = -images if texts is None",
                "normalize_output: bool = field(default=False": "normalize_output: bool = field(default=True",
            }
        )
        fresh = LinearFusion()
        return [fresh(np.ones((1, 4)), None).tolist(), fresh.ignores_images, fresh.normalize_output]

    found, _ = forked(after, 60)
    assert found == [[[-0.5] * 4], True, True]


def test_what_hangs_or_fails_is_told() -> None:
    assert forked(lambda: 1 / 0, 60) == (None, 1)

    def hang() -> None:
        while True:
            pass

    assert forked(hang, 0.2) == (None, None)


def test_every_explanation_is_of_code_that_is_there() -> None:
    reasons = explained()
    code = {path: " ".join((ROOT / path).read_text("utf-8").split()) for path, *_ in reasons}
    for path, place, before, after in reasons:
        assert place.rpartition(".")[2] in code[path]
        assert re.sub(r" \(\d+\)$", "", before) in code[path], (path, before)
        assert after
    assert all(reasons.values())
